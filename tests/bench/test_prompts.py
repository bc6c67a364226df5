"""Prompts: a caption's recorded speech is encoded once, whatever shares of it are given."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from torch import Tensor

from bench.datasets.base import Dataset
from bench.systems.base import Variant
from bench.systems.pixvox import PixVoxSystem
from bench.systems.pixvoxgenerator import PixVoxGenerator
from pixvox.codec.encodec import Codec, Wave


@pytest.fixture
def encodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The samples of every clip that is encoded."""
    lengths: list[int] = []
    encode = Codec.encode

    def counted(self: Codec, wave: Wave) -> Tensor:
        lengths.append(len(wave))
        return encode(self, wave)

    monkeypatch.setattr(Codec, "encode", counted)
    return lengths


def test_a_caption_is_encoded_once_for_all_its_prompts(scenes: Dataset, encodes: list[int]) -> None:
    items = [
        replace(item, captions=tuple(replace(c, units=None) for c in item.captions))
        for item in scenes.items[:2]
    ]
    plain = PixVoxSystem(kind="pixvox", label="delay", weights="zoo:pixvox-tiny-delay")
    variants = []
    for share in (0.0, 0.25, 0.5):
        system = plain.at({"prompt": share})
        variants.append(Variant(f"{share}", share, system))
    generator = PixVoxGenerator(plain.weights, None, "cpu")
    rows = generator.generate([(item, tuple(variants)) for item in items])
    assert [row.status for _, row in rows] == ["ok"] * 6
    assert len(encodes) == len(items)
    frames = [row.prompt_frames for _, row in rows[:3]]
    assert frames[0] == 0 < frames[1] < frames[2]
