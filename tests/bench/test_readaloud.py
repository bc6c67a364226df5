"""Systems with a text in between write what is in the picture, and read it the same always."""

import json
import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import VitsConfig, VitsModel, VitsTokenizer

from bench.datasets.base import Dataset, Item
from bench.datasets.scenes.captions import caption
from bench.datasets.scenes.facts import said, scene_of
from bench.systems.base import Variant
from bench.systems.cascade import CascadeSystem, unknown_token
from bench.systems.oracle import OracleSystem
from bench.systems.voices import reader, voice_digest
from pixvox.digests import WeightsError

ZOO = {"kind": "cascade", "label": "cascade", "weights": "zoo:blip-captioner-tiny"}


def _right(texts: dict[str, str], items: tuple[Item, ...]) -> tuple[int, int]:
    """How many of the facts that are said are true, and how many are said."""
    right = every = 0
    for item in items:
        true = dict(fact.split(": ") for fact in item.facts)
        facts = said(texts[item.id])
        right += sum(value in true[kind].split("|") for kind, value in facts.items())
        every += len(facts)
    return right, every


def test_an_oracle_says_what_is_true_and_in_words_of_its_own(scenes: Dataset) -> None:
    fresh = 0
    for seed in range(3):
        texts = {
            item.id: caption(scene_of(item.facts), random.Random(f"{seed}/{item.id}"))
            for item in scenes.items
        }
        right, every = _right(texts, scenes.items)
        assert right == every
        fresh += sum(texts[i.id] not in {c.text for c in i.captions} for i in scenes.items)
    # Captions of a scene are drawn from the same few words; most are worded as no reference is.
    assert fresh > 0.6 * 3 * len(scenes.items)


def test_seeds_of_an_oracle_are_speeches_of_their_own(scenes: Dataset) -> None:
    system = OracleSystem(kind="oracle", codec="zoo:encodec-tiny", bandwidth=1.6)
    variants = tuple(Variant(str(n), 0, system.at({"seed": n})) for n in (0, 1))
    rows = dict(system.generator("cpu").generate([(scenes.items[0], variants)]))
    again = dict(system.generator("cpu").generate([(scenes.items[0], variants[1:])]))
    assert rows["0"].units != rows["1"].units == again["1"].units
    unknown = Item("a", scenes.items[0].image, scenes.items[0].captions)
    [(_, row)] = system.generator("cpu").generate([(unknown, variants[:1])])
    assert (row.status, "no facts about the picture" in row.reason) == ("failed", True)


def test_the_zoo_s_captioner_writes_what_is_in_the_picture(scenes: Dataset) -> None:
    system = CascadeSystem.model_validate(ZOO)
    writer, variant = system.writer("cpu"), Variant("a", 0, system)
    items = scenes.items[:40]
    right, every = _right({item.id: writer.write(item, variant) for item in items}, items)
    assert every >= 4 * len(items)
    assert right > 0.85 * every


def test_any_text_to_waveform_model_reads(tmp_path: Path, scenes: Dataset) -> None:
    torch.manual_seed(0)
    vocabulary = {letter: n for n, letter in enumerate("_abcdefghijklmnopqrstuvwxyz ")}
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    tokeniser = VitsTokenizer(
        str(tmp_path / "vocab.json"), pad_token="_", unk_token="_", phonemize=False
    )
    small = {"hidden_size": 32, "num_hidden_layers": 1, "ffn_dim": 32, "flow_size": 32}
    small |= {"spectrogram_bins": 33, "upsample_initial_channel": 32, "wavenet_dilation_rate": 1}
    VitsModel(VitsConfig(vocab_size=len(vocabulary), **small)).save_pretrained(tmp_path)
    tokeniser.save_pretrained(tmp_path)
    voice = reader(str(tmp_path), "cpu")
    wave, rate = voice.read("two dogs run")
    assert (rate, wave.ndim, str(wave.dtype)) == (16_000, 1, "float32")
    # Durations are drawn by its stochastic predictor: the same for the same text.
    torch.manual_seed(1)
    assert np.array_equal(voice.read("two dogs run")[0], wave)
    assert len(voice.read("two dogs run in the snow")[0]) != len(wave)
    digest = voice_digest(str(tmp_path))
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary | {"'": 28}))
    assert voice_digest(str(tmp_path)) != digest


@pytest.mark.parametrize("given", [{"codec": "zoo:encodec-tiny"}, {"bandwidth": 1.6}])
def test_a_codec_goes_with_its_bandwidth(given: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="several keys"):
        CascadeSystem.model_validate(ZOO | given)


@pytest.mark.parametrize(
    ("unknown", "eos", "sep", "suppressed"),
    [(100, None, 102, 100), (50256, 50256, None, None), (None, 1, None, None)],
    ids=["BERT", "GPT-2, whose end is its unknown word", "without"],
)
def test_a_word_that_ends_captions_is_not_suppressed(
    unknown: int | None, eos: int | None, sep: int | None, suppressed: int | None
) -> None:
    tokeniser = SimpleNamespace(unk_token_id=unknown, eos_token_id=eos, sep_token_id=sep)
    assert unknown_token(tokeniser) == suppressed


def test_a_voice_that_is_not_there_is_one_line() -> None:
    with pytest.raises(WeightsError, match=r"nowhere: no config\.json there"):
        voice_digest("nowhere")
