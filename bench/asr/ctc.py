"""A CTC model of transformers as the transcriber, greedy: wav2vec2, as Im2Sp is evaluated with."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from bench.asr.base import SAMPLE_RATE, Transcription
from bench.common.audio import Wave
from bench.common.errors import UserError

PROTOCOL = 1
"""Raised when a change here changes transcripts; part of every transcript's key."""


def locate(name: str) -> Path:
    """The model's folder, or a hub id's once fetched; raises UserError where it is not there."""
    from pixvox.digests import WeightsError
    from pixvox.weights import resolve

    try:
        return resolve(name)
    except WeightsError as error:
        raise UserError(f"asr.model: {error}") from error


class CtcTranscriber:
    """A CTC model and its processor on one device.

    Clips are transcribed one at a time: models with group normalisation read a padded clip
    otherwise (Baevski et al. 2020, wav2vec 2.0 base), and an item must not depend on its
    neighbours.
    """

    def __init__(self, folder: Path, device: str, half: bool) -> None:
        from transformers import AutoModelForCTC, AutoProcessor

        dtype = torch.float16 if half else torch.float32
        self.processor = AutoProcessor.from_pretrained(folder)
        self.model = AutoModelForCTC.from_pretrained(folder, dtype=dtype, use_safetensors=True)
        self.model.to(device).eval()

    @torch.inference_mode()
    def transcribe(self, waves: Sequence[Wave]) -> list[Transcription]:
        """See Transcriber; `avg_logprob` is the mean over frames of the chosen token's."""
        return [self._one(wave) for wave in waves]

    def _one(self, wave: Wave) -> Transcription:
        # Shorter than one frame of the feature encoder nothing comes out.
        padded = np.pad(wave, (0, max(0, 400 - len(wave))))
        features = self.processor(padded, sampling_rate=SAMPLE_RATE, return_tensors="pt")
        values = features.input_values.to(self.model.device, self.model.dtype)
        scores = self.model(values).logits[0].float().log_softmax(-1)
        best = scores.max(-1)
        text = self.processor.decode(best.indices.cpu()).strip()
        return Transcription(text, avg_logprob=float(best.values.mean()))
