"""Whisper in both engines: OpenAI's weights under their own names; no clip changes another."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.asr.base import Transcriber
from bench.asr.faster import FasterAsr
from bench.asr.packaged_whisper import DIGEST, checkpoint
from bench.asr.whisper import WhisperAsr, WhisperTranscriber
from bench.common.audio import read_speech
from bench.datasets.base import Caption, Dataset
from bench.metrics.wer import Wer
from pixvox.digests import archive_digest


@pytest.fixture(scope="module")
def transcriber() -> WhisperTranscriber:
    return WhisperTranscriber(WhisperAsr(), "cpu")


def test_the_conversion_is_complete(transcriber: WhisperTranscriber) -> None:
    saved = torch.load(checkpoint(), weights_only=True)["model_state_dict"]
    assert saved.keys() == transcriber.model.state_dict().keys()


def test_the_conversion_is_the_same_wherever_it_is_made_and_made_again_where_it_is_spoilt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a"))
    one = checkpoint()
    assert archive_digest(one) == DIGEST
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert checkpoint().read_bytes() == one.read_bytes()
    data = bytearray(one.read_bytes())
    data[len(data) // 2] ^= 1
    one.write_bytes(data)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a"))
    assert archive_digest(checkpoint()) == DIGEST


def _word_error(captions: Sequence[Caption], transcripts: Sequence[str]) -> float:
    said = {str(number): (caption.text,) for number, caption in enumerate(captions)}
    counted = Wer().statistics(dict(zip(said, transcripts, strict=True)), said)
    return float(Wer().score(counted.sum(0))[0])


@pytest.mark.parametrize("engine", ["openai-whisper", "faster-whisper"])
def test_shipped_speech_is_understood_clip_by_clip(
    engine: str, transcriber: WhisperTranscriber, scenes: Dataset
) -> None:
    asr: Transcriber = transcriber
    if engine == "faster-whisper":
        asr = FasterAsr(backend="faster-whisper").transcriber("cpu", 1)
    captions = [item.captions[0] for item in scenes.items[:4]]
    waves = [read_speech(c.speech, 16_000) for c in captions if c.speech]
    transcribed = [result.transcript for result in asr.transcribe(waves)]
    assert _word_error(captions, transcribed) <= 15
    assert [asr.transcribe([wave])[0].transcript for wave in waves] == transcribed


def test_a_loud_neighbour_changes_nothing(transcriber: WhisperTranscriber, scenes: Dataset) -> None:
    speech = scenes.items[0].captions[0].speech
    assert speech is not None
    quiet = read_speech(speech, 16_000) * 0.01
    noise = np.random.default_rng(0).normal(size=16_000).astype(np.float32)
    first = transcriber.transcribe([quiet, quiet])[0]
    second = transcriber.transcribe([quiet, noise])[0]
    assert first.transcript == second.transcript
    assert first.avg_logprob == pytest.approx(second.avg_logprob, abs=1e-4)
