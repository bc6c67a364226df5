"""Systems with text in between: a writer gives a caption, and a voice reads it aloud.

The speech may also go through a codec, so that it can be compared with systems that generate the
codec's units and share its loss.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Protocol, Self

from pydantic import model_validator

from bench.common.audio import SpeechError, resample
from bench.common.bounds import Bandwidth
from bench.common.validation import keys_error
from bench.common.yamlfile import WeightsName
from bench.datasets.base import Item
from bench.store.rows import SpeechRow, packed
from bench.systems.base import Content, EachItem, Generator, Lookup, System, Variant
from bench.systems.sound import flac
from bench.systems.voices import PIPER, VoiceName, reader, voice_digest

if TYPE_CHECKING:
    from pixvox.codec.encodec import Codec


class Writer(Protocol):
    """Writes captions on one device."""

    def write(self, item: Item, variant: Variant) -> str:
        """Returns a caption of an item; raises SpeechError where there is none."""


class ReadAloud(System):
    """A caption that a voice reads aloud, with or without a codec."""

    voice: VoiceName = PIPER
    """The voice: `piper:joe`, the voice of the scenes, or a text-to-waveform model of transformers,
    by a folder or a hub id."""
    codec: WeightsName | None = None
    """The codec that the speech goes through; `null` for none."""
    bandwidth: Bandwidth | None = None
    """The codec's bandwidth in kbps."""

    uses_gpu: ClassVar[bool] = True

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.codec is None) != (self.bandwidth is None):
            missing = "bandwidth" if self.bandwidth is None else "codec"
            raise keys_error({missing: "is missing: a codec needs a bandwidth"})
        return self

    @abstractmethod
    def writer(self, device: str) -> Writer:
        """Returns the writer of captions on a device."""

    @abstractmethod
    def written_with(self) -> str:
        """Returns the digest of what writes the captions; "" if they depend on nothing more."""

    def generator(self, device: str) -> Generator:
        return _Generator(self, device)

    def content(self, lookup: Lookup) -> Content:
        weights = self.written_with()
        voice = lookup.once(("voice", self.voice), lambda: voice_digest(self.voice))
        codec = ""
        if self.codec is not None and self.bandwidth is not None:
            codec = lookup.codec(self.codec, self.bandwidth).digest
        depends = self.model_dump(exclude={"label", "training"})
        depends |= {"voice": voice, "codec": codec, "weights": weights}
        return Content(depends=depends, weights=weights, codec=codec)

    def weights_names(self) -> Sequence[str]:
        voice = () if self.voice == PIPER else (self.voice,)
        return (*voice, *super().weights_names())

    def codec_of(self) -> tuple[str, float] | None:
        if self.codec is None or self.bandwidth is None:
            return None
        return self.codec, self.bandwidth


class _Generator(EachItem):
    def __init__(self, system: ReadAloud, device: str) -> None:
        self.writer = system.writer(device)
        self.reader = reader(system.voice, device)
        codec = system.codec_of()
        self.codec = _loaded(*codec) if codec is not None else None

    def generate_item(self, item: Item, variant: Variant) -> SpeechRow:
        """Returns a row with the codec's units, or with the sound."""
        text = self.writer.write(item, variant)
        if not text.strip():
            raise SpeechError("the caption is empty")
        wave, rate = self.reader.read(text)
        if self.codec is None:
            return SpeechRow(item=item.id, status="ok", audio=flac(wave, rate))
        units = self.codec.encode(resample(wave, rate, self.codec.sample_rate)).numpy()
        return SpeechRow(item=item.id, status="ok", units=packed(units), codebooks=units.shape[0])


def _loaded(name: str, bandwidth: float) -> "Codec":
    from pixvox.codec.encodec import Codec

    return Codec.load(name, bandwidth)
