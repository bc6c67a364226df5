"""Scenes: the shipped split can be rebuilt from its seeds, and its captions vary."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench.common.audio import SpeechError, read_speech
from bench.datasets.base import Dataset, digest_of
from bench.datasets.scenes.build import encode_speech
from bench.datasets.scenes.captions import captions
from bench.datasets.scenes.drawing import draw_array
from bench.datasets.scenes.load import shipped_folder
from bench.datasets.scenes.speech import speak
from bench.datasets.scenes.world import sample_scene
from bench.datasets.storedunits import UnitsEntry, write_units
from bench.systems.resynthesis import prompt_units
from pixvox.codec.encodec import Codec


def test_the_shipped_split_is_made_from_its_seeds(scenes: Dataset) -> None:
    assert len(scenes.items) >= 200
    for index, item in enumerate(scenes.items):
        assert tuple(c.text for c in item.captions) == captions(
            sample_scene("test", index), "test", index
        )
    for index in (0, 57, 199):
        with Image.open(scenes.items[index].image) as picture:
            shipped = np.array(picture.convert("RGB"), dtype=int)
        drawn = draw_array(sample_scene("test", index)).astype(int)
        # The files hold 128 colours.
        assert np.abs(shipped - drawn).mean() < 2


def test_every_caption_is_spoken(scenes: Dataset) -> None:
    for item in scenes.items[:3]:
        for caption in item.captions:
            assert caption.speech is not None
            wave = read_speech(caption.speech, 16_000)
            assert 0.5 < len(wave) / 16_000 < 6
            assert np.abs(wave).max() > 0.1


def test_the_split_fits_the_package() -> None:
    files = [path for path in Path(shipped_folder()).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 8 * 1024 * 1024


def test_captions_vary_like_people_s(scenes: Dataset) -> None:
    words = {word for item in scenes.items for c in item.captions for word in c.text.split()}
    assert len(words) >= 120
    for item in scenes.items:
        texts = [c.text for c in item.captions]
        assert len(set(texts)) == 5


def test_different_scenes_have_different_pictures() -> None:
    pictures = {draw_array(sample_scene("val", index)).tobytes() for index in range(40)}
    assert len(pictures) == 40


def test_prompts_are_units_from_before_the_speech_was_stored(
    scenes: Dataset, tmp_path: Path
) -> None:
    codec = Codec.load("zoo:encodec-tiny", 1.6)
    item = scenes.items[0]
    caption = item.captions[0]
    assert caption.speech is not None
    (tmp_path / "before.wav").write_bytes(encode_speech(speak(caption.text), lossy=False))
    before = codec.encode(read_speech(tmp_path / "before.wav", codec.sample_rate))
    units = prompt_units(item, 0, 1.0, codec)
    assert units.shape == before.shape
    # Kernels of another machine may round a unit the other way; Opus changes half of them and more.
    assert (units == before).float().mean() > 0.99
    stored = codec.encode(read_speech(caption.speech, codec.sample_rate))
    assert (stored == before[:, : stored.shape[1]]).float().mean() < 0.6
    other = replace(codec, digest="another codec's")
    assert torch.equal(prompt_units(item, 0, 1.0, other), stored)
    assert digest_of([item]) != digest_of([replace(item, captions=(replace(caption, units=None),))])
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04 no more")
    write_units(
        tmp_path / "words.npz", codec.digest, {caption.speech.stem: np.array([["a"] * 9] * 4)}
    )
    for name in ("cut", "words"):
        entry = UnitsEntry(tmp_path / f"{name}.npz", caption.speech.stem)
        damaged = replace(item, captions=(replace(caption, units=entry),))
        with pytest.raises(SpeechError, match=rf"{name}\.npz: damaged"):
            prompt_units(damaged, 0, 1.0, codec)
