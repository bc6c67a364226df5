"""The offline Whisper: OpenAI's weights under their own names, and no clip changes another."""

from pathlib import Path

import numpy as np
import pytest
import torch

from bench.asr.packaged_whisper import DIGEST, checkpoint
from bench.asr.whisper import WhisperTranscriber
from bench.common.audio import read_speech
from bench.datasets.base import Dataset
from bench.metrics.wer import word_error_rate
from pixvox.digests import archive_digest


@pytest.fixture(scope="module")
def transcriber() -> WhisperTranscriber:
    return WhisperTranscriber(checkpoint(), "cpu")


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


def test_shipped_speech_is_understood(transcriber: WhisperTranscriber, scenes: Dataset) -> None:
    captions = [item.captions[0] for item in scenes.items[:4]]
    waves = [read_speech(c.speech, 16_000) for c in captions if c.speech]
    transcribed = [result.transcript for result in transcriber.transcribe(waves)]
    assert word_error_rate([c.text for c in captions], transcribed) <= 15


def test_a_loud_neighbour_changes_nothing(transcriber: WhisperTranscriber, scenes: Dataset) -> None:
    speech = scenes.items[0].captions[0].speech
    assert speech is not None
    quiet = read_speech(speech, 16_000) * 0.01
    noise = np.random.default_rng(0).normal(size=16_000).astype(np.float32)
    first = transcriber.transcribe([quiet, quiet])[0]
    second = transcriber.transcribe([quiet, noise])[0]
    assert first.transcript == second.transcript
    assert first.avg_logprob == pytest.approx(second.avg_logprob, abs=1e-4)
