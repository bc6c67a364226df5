"""The dataset's own speech: as it is, through a codec, cut to a prompt, or another image's."""

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.audio import read_speech
from bench.datasets.types import Item
from bench.rows import Spoken, packed
from bench.systems.specs import PromptSpec, RecordedSpec, ResynthesisSpec, ShuffledSpec
from bench.systems.types import EachItem, Variant, speech_file

if TYPE_CHECKING:
    from torch import Tensor

    from pixvox.codec import Codec


class RecordedSpeaker(EachItem):
    """Points at the dataset's speech; a shuffled item comes with another's captions."""

    def __init__(self, spec: RecordedSpec | ShuffledSpec) -> None:
        self.number = spec.caption
        # Another image's caption is none of this one's.
        self.caption = spec.caption if isinstance(spec, RecordedSpec) else -1

    def one(self, item: Item, variant: Variant) -> Spoken:
        """A row that says which caption to hear."""
        speech_file(item, self.number)
        return Spoken(item.id, "ok", caption=self.caption)


class CodecSpeaker(EachItem):
    """Encodes the dataset's speech: all of it, or the share that is a prompt."""

    def __init__(self, spec: ResynthesisSpec | PromptSpec) -> None:
        from pixvox.codec import Codec

        self.caption = spec.caption
        self.codec = Codec.load(spec.codec, spec.bandwidth)

    def one(self, item: Item, variant: Variant) -> Spoken:
        """A row of the codec's units."""
        share = variant.prompt or 1.0
        units = prompt_units(item, self.caption, share, self.codec)
        frames = units.shape[1] if variant.prompt else 0
        return Spoken(
            item.id,
            "ok",
            units=packed(units.numpy()),
            codebooks=units.shape[0],
            prompt_frames=frames,
            caption=self.caption,
        )


def prompt_units(item: Item, caption: int, share: float, codec: "Codec") -> "Tensor":
    """The first `share` of a caption's speech, cut on codec frames: `[K, P]`."""
    units = codec.encode(read_speech(speech_file(item, caption), codec.sample_rate))
    return units[:, : round(share * units.shape[1])]


def others(names: Sequence[str], seed: int) -> dict[str, str]:
    """Every name with another one: a cycle through all in a seeded order, so none keeps its own.

    A lone name has none beside it, and is left out.
    """
    order = list(names)
    random.Random(f"shuffled/{seed}").shuffle(order)
    pairs = zip(order, order[1:] + order[:1], strict=True)
    return {mine: other for mine, other in pairs if mine != other}


def shuffled(items: Sequence[Item], seed: int) -> dict[str, Item]:
    """Every item with the captions of another, over the whole split (see others)."""
    by_name = {item.id: item for item in items}
    paired = others(list(by_name), seed)
    return {
        name: Item(name, item.image, by_name[paired.get(name, name)].captions)
        for name, item in by_name.items()
    }
