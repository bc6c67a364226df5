"""The dataset's speech through a codec and back: the ceiling of every system over that codec."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from bench.common.audio import SpeechError, read_speech
from bench.common.bounds import Bandwidth, Label
from bench.common.yamlfile import WeightsName
from bench.datasets.base import Item
from bench.datasets.storedunits import stored_units
from bench.store.rows import SpeechRow, packed
from bench.systems.axes import BANDWIDTH, Axis
from bench.systems.base import (
    Content,
    EachItem,
    Generator,
    Lookup,
    Loss,
    Role,
    System,
    Variant,
    caption_of,
    speech_file,
)

if TYPE_CHECKING:
    from torch import Tensor

    from pixvox.codec.encodec import Codec


class ResynthesisSystem(System):
    """The dataset's speech through a codec and back: the ceiling of every system over it."""

    kind: Literal["resynthesis"]
    label: Label = "resynthesis"
    codec: WeightsName
    """The codec, by a path, `zoo:NAME`, a hub id or `encodec:24khz`."""
    bandwidth: Bandwidth
    """The codec's bandwidth in kbps, which decides how many codebooks it has."""

    role: ClassVar[Role] = Role.CEILING
    says_caption: ClassVar[bool] = True
    loss: ClassVar[Loss] = "codec"

    def generator(self, device: str) -> Generator:
        return CodecGenerator(self.codec, self.bandwidth)

    def content(self, lookup: Lookup) -> Content:
        codec = lookup.codec(self.codec, self.bandwidth).digest
        depends = self.model_dump(exclude={"label"}) | {"codec": codec}
        return Content(depends=depends, codec=codec)

    @classmethod
    def axes(cls) -> tuple[Axis, ...]:
        return (BANDWIDTH,)

    def values(self) -> Mapping[str, tuple[Any, ...]]:
        return {"bandwidth": (self.bandwidth,)}

    def at(self, point: Mapping[str, Any]) -> Self:
        return self.model_copy(update={"bandwidth": point.get("bandwidth", self.bandwidth)})

    def described(self) -> list[str]:
        return [f"{self.bandwidth:g} kbps"]

    def codec_of(self) -> tuple[str, float] | None:
        return self.codec, self.bandwidth

    def uses_caption(self) -> bool:
        return True


class CodecGenerator(EachItem):
    """Encodes the dataset's speech, or the share of it that is a prompt."""

    def __init__(self, codec: str, bandwidth: float) -> None:
        from pixvox.codec.encodec import Codec

        self.codec = Codec.load(codec, bandwidth)

    def generate_item(self, item: Item, variant: Variant) -> SpeechRow:
        """Returns a row with the codec's units."""
        share, number = variant.prompt or 1.0, caption_of(item, variant)
        units = prompt_units(item, number, share, self.codec)
        frames = units.shape[1] if variant.prompt else 0
        return SpeechRow(
            item=item.id,
            status="ok",
            units=packed(units.numpy()),
            codebooks=units.shape[0],
            prompt_frames=frames,
            caption=number,
        )


def prompt_units(item: Item, caption: int, share: float, codec: "Codec") -> "Tensor":
    """Returns the first `share` of a caption's speech, cut at codec frames: `[K, P]`.

    For several shares of one caption, call `caption_units` once and `first` for each. Raises
    SpeechError.
    """
    return first(share, caption_units(item, caption, codec))


def first(share: float, units: "Tensor") -> "Tensor":
    """Returns the first `share` of units `[K, N]`."""
    return units[:, : round(share * units.shape[1])]


def caption_units(item: Item, caption: int, codec: "Codec") -> "Tensor":
    """Returns the units of a caption's speech, `[K, N]`.

    Stored units, encoded before the sound was stored, are preferred and need no sound. Raises
    SpeechError if there are neither units nor sound.
    """
    given = item.captions[caption] if caption < len(item.captions) else None
    held = given.units if given is not None else None
    units = stored_units(held, codec) if held is not None else None
    if units is None:
        if given is not None and held is not None and given.speech is None:
            raise SpeechError(
                f"{item.id}: caption {caption} has no sound, and no units by the codec "
                f"{codec.digest} at {codec.bandwidth:g} kbps; narrate it with either"
            )
        units = codec.encode(read_speech(speech_file(item, caption), codec.sample_rate))
    return units
