"""The other ASR backends transcribe what they should, and no clip changes another."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.asr.base import Transcriber
from bench.asr.choice import asr_facts, locate, make_transcriber
from bench.asr.spec import AsrSpec
from bench.common.audio import Wave, read_speech
from bench.common.errors import UserError
from bench.datasets.base import Dataset
from bench.metrics.wer import word_error_rate


def _waves(scenes: Dataset, count: int) -> tuple[list[str], list[Wave]]:
    captions = [item.captions[0] for item in scenes.items[:count]]
    return [c.text for c in captions], [read_speech(c.speech, 16_000) for c in captions if c.speech]


def test_faster_whisper_hears_the_same_weights(scenes: Dataset) -> None:
    spec = AsrSpec(backend="faster-whisper")
    transcriber = make_transcriber(spec, str(locate(spec)), "cpu", 1)
    texts, waves = _waves(scenes, 3)
    transcribed = [result.transcript for result in transcriber.transcribe(waves)]
    assert word_error_rate(texts, transcribed) <= 15
    assert [transcriber.transcribe([wave])[0].transcript for wave in waves] == transcribed


@pytest.fixture(scope="module")
def ctc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wav2vec2 of random weights, in the files that a published one has."""
    from transformers import (
        Wav2Vec2Config,
        Wav2Vec2CTCTokenizer,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2ForCTC,
        Wav2Vec2Processor,
    )

    folder = tmp_path_factory.mktemp("ctc")
    vocabulary = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "|": 4, "A": 5, "B": 6}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    torch.manual_seed(0)
    size = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = Wav2Vec2ForCTC(
        Wav2Vec2Config(vocab_size=7, intermediate_size=32, **size, num_conv_pos_embeddings=16)
    )
    model.save_pretrained(folder)
    tokenizer = Wav2Vec2CTCTokenizer(str(folder / "vocab.json"), pad_token="<pad>")
    Wav2Vec2Processor(Wav2Vec2FeatureExtractor(), tokenizer).save_pretrained(folder)
    return folder


def test_ctc_text_is_the_collapsed_best_path(ctc: Path, scenes: Dataset) -> None:
    spec = AsrSpec(backend="transformers-ctc", model=str(ctc))
    transcriber: Transcriber = make_transcriber(spec, str(locate(spec)), "cpu", 1)
    _, (wave, other) = _waves(scenes, 2)
    transcribed = transcriber.transcribe([wave, other])
    assert transcriber.transcribe([wave]) == transcribed[:1]
    # By hand: Graves et al. 2006, "best path": repeats first, then blanks, go.
    values = (wave - wave.mean()) / np.sqrt(wave.var() + 1e-7)
    with torch.inference_mode():
        scores = transcriber.model(torch.from_numpy(values)[None]).logits[0]  # type: ignore[attr-defined]
    path = scores.argmax(-1).tolist()
    kept = [c for c, before in zip(path, [None, *path], strict=False) if c not in (before, 0)]
    letters = dict(enumerate(["", "<s>", "</s>", "<unk>", " ", "A", "B"]))
    assert transcribed[0].transcript.split() == "".join(letters[c] for c in kept).split()
    assert transcribed[0].no_speech_prob is None
    assert transcribed[0].avg_logprob < 0


def test_other_weights_are_another_asr(ctc: Path) -> None:
    spec = AsrSpec(backend="transformers-ctc", model=str(ctc))
    before = asr_facts(spec, ctc)
    (ctc / "README.md").write_text("a card")
    assert asr_facts(spec, ctc) == before
    (ctc / "vocab.json").write_text((ctc / "vocab.json").read_text().replace("B", "C"))
    assert asr_facts(spec, ctc) != before


def test_a_missing_model_is_one_line() -> None:
    with pytest.raises(UserError, match=r"asr\.model"):
        locate(AsrSpec(backend="transformers-ctc", model="./nowhere"))
    with pytest.raises(ValueError, match="float16 needs a GPU"):
        make_transcriber(AsrSpec(arithmetic="float16"), "", "cpu", 1)
