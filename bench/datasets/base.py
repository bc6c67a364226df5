"""What a dataset is: the contract of everything that systems can be evaluated or trained on.

A kind of dataset is one file in this folder: a strict model of what a job says of it, with the
methods below. It is named once more, in `bench.datasets.shipped`. No other room asks which kind it
has. What it gives are items with an image, captions, and the captions' speech.
"""

import hashlib
import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Self

from bench.common.errors import UserError
from bench.common.filedigests import file_digests
from bench.common.text import short
from bench.common.validation import keys_error
from bench.common.yamlfile import FilePath, Strict, validate
from bench.datasets.storedunits import UnitsEntry, entry_digest

Report = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


@dataclass(frozen=True, slots=True)
class Caption:
    """One caption and, where the dataset has it, the file in which a person or voice says it.

    `units` are where that speech's units are as they were before it was stored (see storedunits).
    A training takes them without the speech.
    """

    text: str
    speech: Path | None = None
    speaker: str = ""
    units: UnitsEntry | None = None


Choice = int | Literal["rotating"]
"""Which of an image's captions is said: its number, or `rotating` (see Item.chosen)."""


@dataclass(frozen=True, slots=True)
class Item:
    """One image of a split with all its captions.

    `facts` are what is true of the picture, `KIND: VALUE|VALUE`, where the dataset knows it.
    """

    id: str
    image: Path
    captions: tuple[Caption, ...]
    facts: tuple[str, ...] = ()

    def chosen(self, choice: Choice) -> int:
        """The number of the caption that a choice made for all images means for this one.

        `rotating` takes, by a hash of the item's id, one of those that have recorded speech; where
        none has, of those that have units, and else of all. An image keeps its caption whatever
        else is evaluated, and in a split each number is taken about as often.
        """
        if choice != "rotating":
            return choice
        numbers = range(len(self.captions))
        recorded = [number for number in numbers if self.captions[number].speech is not None]
        encoded = [number for number in numbers if self.captions[number].units is not None]
        among = recorded or encoded or list(numbers)
        drawn = int.from_bytes(hashlib.sha256(self.id.encode()).digest()[:8])
        return among[drawn % len(among)] if among else 0


@dataclass(frozen=True)
class Dataset:
    """A split. `digest` covers ids, captions and the bytes of images and speech.

    `unusable` are entries of the split that no score can be given to, each with the reason; they
    are reported with every run, and never dropped in silence. `standing` says in words in what a
    split is not the official one, nothing where it is; `whole` is how many images that one, or
    else the split that was cut, has. `plugin` is the package that adds its kind, with its version.
    """

    name: str
    split: str
    speech_kind: str
    items: tuple[Item, ...]
    digest: str = ""
    unusable: tuple[tuple[str, str], ...] = ()
    standing: tuple[str, ...] = ()
    whole: int | None = None
    plugin: str = ""

    @property
    def references(self) -> dict[str, tuple[str, ...]]:
        """Item id → its captions, of the whole split."""
        return {item.id: tuple(c.text for c in item.captions) for item in self.items}

    @property
    def of(self) -> int:
        """How many images the whole split has."""
        return len(self.items) if self.whole is None else self.whole

    def counted(self, n: int) -> str:
        """How many of which images, as a table says it."""
        return counted(n, self.of, self.name, self.split, self.standing)


def no_items(dataset: Dataset) -> str:
    """What is said of a split without items: why its first entries cannot be used."""
    if not dataset.unusable:
        return "the split has no items; name another split or folder"
    reasons = "; ".join(f"{short(name)}: {reason}" for name, reason in dataset.unusable[:3])
    return f"no item of the split can be scored, {len(dataset.unusable)} cannot: {reasons}"


SUBSET = "a subset"


def counted(n: int, of: int, name: str, split: str, standing: Sequence[str]) -> str:
    """How many of which images, as a table says it: `15 of 1000 flickr8k test images (a subset)`"""
    images = f"{n} of {of} {name} {split} images"
    return f"{images} ({', '.join(standing)})" if standing else images


Half = Literal["train", "val"]
"""What a training learns from, and what it is watched on."""


class DatasetSpec(Strict, ABC):
    """One kind of dataset; fields are what a job says of it.

    `only_training` and `only_evaluation` are keys that one kind of job has no use for, and
    `needs_training` those that no training can do without, `needs_speech` no training on speech.
    """

    name: str
    items: FilePath | None = None
    """A file of ids or image names, one a line: only these are evaluated, and tables call them a
    subset."""

    only_training: ClassVar[frozenset[str]] = frozenset()
    only_evaluation: ClassVar[frozenset[str]] = frozenset({"items"})
    needs_training: ClassVar[frozenset[str]] = frozenset()
    needs_speech: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def recognised(cls, folder: Path, further: Sequence[Path] = ()) -> Self | None:
        """What a job would say of a folder that holds this kind of data; None where it does not.

        Pictures may also lie in one of the `further` folders. Raises NoPictures for captions
        without them.
        """
        return None

    @abstractmethod
    def read(self) -> Dataset:
        """The split that is evaluated, without its digest, before `items` takes some of it.

        Raises UserError for files that cannot be read.
        """

    @abstractmethod
    def half(self, half: Half, report: Report) -> Sequence[Item]:
        """What a training learns from or is watched on; nothing where the job names none."""

    def title(self) -> str:
        """The dataset's name, as `read` gives it; raises UserError where a file of it is wrong."""
        return self.name

    def of_split(self, split: str) -> Self:
        """The same with another split; raises UserError where the dataset has no such split."""
        if "split" not in type(self).model_fields:
            raise UserError(f"{self.name}: has no splits to choose from; leave `splits` out")
        known: Self = validate(
            self.model_dump(mode="json") | {"split": split}, type(self), self.name
        )
        return known

    def placed(self) -> Self:
        """The same with whole paths, for processes that run in other folders."""
        paths = {key: value.absolute() for key, value in self if isinstance(value, Path)}
        return self.model_copy(update=paths)

    @abstractmethod
    def computed(self) -> Path:
        """The folder for what a training computes of it."""


def _given(spec: DatasetSpec, key: str) -> bool:
    # Not the fields that were set: a job that was handed on to a worker has set them all.
    return getattr(spec, key) != type(spec).model_fields[key].default


def to_evaluate(spec: DatasetSpec) -> DatasetSpec:
    """For validators: refuses what an evaluation has no use for."""
    return _fits(spec, spec.only_training, "only training uses it; remove it")


def to_train(spec: DatasetSpec) -> DatasetSpec:
    """For validators: refuses what a training has no use for, and wants what it needs."""
    return _trains(spec, spec.needs_training | spec.needs_speech)


def to_train_on_captions(spec: DatasetSpec) -> DatasetSpec:
    """For validators: as `to_train`, for a training that needs no recorded speech."""
    return _trains(spec, spec.needs_training)


def _trains(spec: DatasetSpec, needed: Iterable[str]) -> DatasetSpec:
    lacking = {key: "is missing" for key in needed if not _given(spec, key)}
    return _fits(spec, spec.only_evaluation, "only evaluation uses it; remove it", lacking)


def _fits(
    spec: DatasetSpec, odd: Iterable[str], why: str, lacking: dict[str, str] | None = None
) -> DatasetSpec:
    wrong = {key: why for key in sorted(odd) if _given(spec, key)} | (lacking or {})
    if wrong:
        raise keys_error(wrong)
    return spec


MAX_FILE_NAME = 200
"""Bytes of an item's name: file systems take 255, and suffixes come after it."""
MAX_NAME = 2_000
"""Characters of a file's path below its folder."""
MAX_CAPTION = 2_000
"""Characters; a longer one is a file that was read wrongly, and METEOR would not end over it."""
MAX_FILE_BYTES = 512 * 1024 * 1024


def unusable_name(name: str) -> str:
    """Why no item's files can be named like this; "" where they can."""
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
        return "holds a control character"
    if len(name.encode()) > MAX_FILE_NAME:
        return f"is {len(name.encode())} bytes long; a name has at most {MAX_FILE_NAME}"
    return ""


def unusable_id(name: str) -> str:
    """Why this cannot be an item's id, after which its files are named; "" where it can."""
    if not name.strip() or name in (".", ".."):
        return "is no name"
    if "/" in name or "\\" in name:
        return "holds a slash"
    return unusable_name(name)


def inside(root: Path, name: str) -> Path:
    """The file below a folder that has this name; links on the way are followed.

    Names are judged as they are written: raises ValueError for a name that no file can have, for
    `..`, and for absolute and Windows paths.
    """
    parts = name.split("/")
    if reason := next((reason for part in parts if (reason := unusable_name(part))), ""):
        raise ValueError(f"{name[:80]!r}: {reason}")
    if len(name) >= MAX_NAME:
        raise ValueError(f"{name[:80]!r} is longer than {MAX_NAME:,} characters")
    if ".." in parts:
        raise ValueError(f"{name[:80]!r} leads out of its folder")
    if name.startswith("/"):
        raise ValueError(f"{name[:80]!r} is an absolute path")
    # A file whose own name holds a backslash is rare, but there.
    if re.match(r"[A-Za-z]:[\\/]", name) or ("\\" in name and not (root / name).is_file()):
        raise ValueError(f"{name[:80]!r} is a Windows path; use / between folders")
    return root / name


def check_caption(text: str, at: str) -> None:
    """Raises UserError, which says where, for a caption that no one wrote."""
    if len(text) > MAX_CAPTION:
        raise UserError(
            f"{at}: a caption of {len(text):,} characters; at most {MAX_CAPTION:,} are read"
        )
    if "\0" in text:
        raise UserError(f"{at}: a caption with a null character; convert the file")


def text_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file, ended by a line feed (or CR LF) and nothing else.

    `str.splitlines` also splits at U+2028, form feeds and the like, which captions contain.
    Raises UserError where the file is not there, no plain file, not UTF-8, or has old Mac line
    ends, which would make it one line.
    """
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"{path}: is not a plain file; point the dataset at its folder")
        if path.is_file() and path.stat().st_size > MAX_FILE_BYTES:
            raise UserError(f"{path}: larger than {MAX_FILE_BYTES:,} bytes")
        text = path.read_bytes().decode("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(f"{path}: no such file; point the dataset at its folder") from error
    except OSError as error:
        raise UserError(f"{path}: not readable ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}; convert the file") from error
    if text.count("\r") - text.count("\r\n") > text.count("\n"):
        raise UserError(f"{path}: lines end in CR alone; convert the line ends to LF")
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return lines[:-1] if lines[-1] == "" else lines


def digest_of(items: Iterable[Item]) -> str:
    """SHA-256 over a split's content, 16 hex digits; a missing file is part of the content."""
    items = tuple(items)
    images = [item.image for item in items]
    speech = [c.speech for item in items for c in item.captions if c.speech is not None]
    units = {c.units.file for item in items for c in item.captions if c.units is not None}
    digests = file_digests([*images, *speech, *units])
    state = hashlib.sha256()
    for item in items:
        state.update(f"{item.id}\0".encode() + digests[item.image])
        for caption in item.captions:
            state.update(caption.text.encode() + b"\0")
            state.update(digests[caption.speech] if caption.speech else b"none")
            if caption.units is not None:
                state.update(entry_digest(caption.units, digests[caption.units.file]))
    return state.hexdigest()[:16]


def speech_kind(items: Sequence[Item]) -> str:
    """What is known of a dataset's recordings, in words."""
    spoken = [c.speaker for item in items for c in item.captions if c.speech is not None]
    if not spoken:
        has_units = any(c.units is not None for item in items for c in item.captions)
        return "units of an unknown voice" if has_units else "none"
    speakers = set(spoken) - {""}
    several = f", {len(speakers)} speakers" if len(speakers) != 1 else ", one speaker"
    return f"recorded{several if speakers else ''}"
