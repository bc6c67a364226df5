"""Scenes: the shipped split is what its seeds make, and it has the variety it claims."""

from pathlib import Path

import numpy as np
from PIL import Image

from bench.common.audio import read_speech
from bench.datasets.base import Dataset
from bench.datasets.scenes.captions import captions
from bench.datasets.scenes.drawing import draw_array
from bench.datasets.scenes.load import shipped_folder
from bench.datasets.scenes.world import sample_scene


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


def test_captions_vary_as_people_s_do(scenes: Dataset) -> None:
    words = {word for item in scenes.items for c in item.captions for word in c.text.split()}
    assert len(words) >= 120
    for item in scenes.items:
        texts = [c.text for c in item.captions]
        assert len(set(texts)) == 5


def test_what_differs_in_the_scene_differs_in_the_picture() -> None:
    pictures = {draw_array(sample_scene("val", index)).tobytes() for index in range(40)}
    assert len(pictures) == 40
