"""A CTC model of transformers as the transcriber, greedy: wav2vec2, as Im2Sp is evaluated with."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import model_validator

from bench.asr.base import SAMPLE_RATE, Transcriber, Transcription
from bench.asr.weights import BeamSize, WeightsAsr
from bench.common.audio import Wave
from bench.common.errors import UserError
from bench.common.validation import keys_error
from bench.common.yamlfile import WeightsName


class CtcAsr(WeightsAsr):
    """A CTC model of transformers, decoded greedily."""

    backend: Literal["transformers-ctc"]
    model: WeightsName
    """A model's folder, or its id on the Hugging Face hub."""
    beam_size: BeamSize | None = None
    """Must be `null`: a CTC model is decoded greedily."""

    @model_validator(mode="after")
    def _greedy(self) -> "CtcAsr":
        if self.beam_size is not None:
            reason = "transformers-ctc decodes greedily, as Im2Sp does; remove it"
            raise keys_error({"beam_size": reason})
        return self

    def find(self) -> Path:
        from pixvox.digests import WeightsError
        from pixvox.weights import resolve

        try:
            return resolve(self.model)
        except WeightsError as error:
            raise UserError(f"asr.model: {error}") from error

    def transcriber(self, device: str, threads: int) -> Transcriber:
        return CtcTranscriber(self, device)


class CtcTranscriber:
    """A CTC model and its processor on one device.

    Clips are transcribed one at a time: padding changes the result of models with group
    normalisation (wav2vec 2.0 base, Baevski et al. 2020), and a transcript must not depend on the
    other clips of its batch.
    """

    def __init__(self, spec: CtcAsr, device: str) -> None:
        import torch
        from transformers import AutoModelForCTC, AutoProcessor

        from pixvox.loading import without_bars

        dtype = torch.float16 if spec.half(device) else torch.float32
        folder = spec.locate()
        self.processor = AutoProcessor.from_pretrained(folder)
        with without_bars():
            self.model = AutoModelForCTC.from_pretrained(folder, dtype=dtype, use_safetensors=True)
        self.model.to(device).eval()

    def transcribe(self, waves: Sequence[Wave]) -> list[Transcription]:
        """Transcribes clips; `avg_logprob` is the mean over frames of the best token's."""
        import torch

        from pixvox.precision import precision

        arithmetic = "float16" if self.model.dtype == torch.float16 else "float32"
        with torch.inference_mode(), precision(arithmetic):
            return [self._transcribe_clip(wave) for wave in waves]

    def _transcribe_clip(self, wave: Wave) -> Transcription:
        # A clip shorter than one frame (400 samples) of the feature encoder has no output.
        padded = np.pad(wave, (0, max(0, 400 - len(wave))))
        features = self.processor(padded, sampling_rate=SAMPLE_RATE, return_tensors="pt")
        values = features.input_values.to(self.model.device, self.model.dtype)
        scores = self.model(values).logits[0].float().log_softmax(-1)
        best = scores.max(-1)
        text = self.processor.decode(best.indices.cpu()).strip()
        return Transcription(text, avg_logprob=float(best.values.mean()))
