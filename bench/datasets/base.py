"""The contract of datasets, on which systems are evaluated or trained.

A kind of dataset is one file in this folder, with a strict model of its keys in a job. It is
registered in `bench.datasets.shipped`. No other folder asks which kind it has. A dataset gives
items with an image, captions, and the captions' speech.
"""

import hashlib
import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import ClassVar, Literal, Self

from bench.common.errors import UserError
from bench.common.filedigests import file_digests
from bench.common.progress import Progress
from bench.common.text import short
from bench.common.validation import keys_error
from bench.common.yamlfile import FilePath, Strict, validate
from bench.datasets.storedunits import UnitsEntry, entry_digest


@dataclass(frozen=True, slots=True)
class Caption:
    """One caption and, where the dataset has it, the file of its speech.

    `units` names the stored units of that speech (bench.datasets.storedunits), which a training
    uses without reading the speech.
    """

    text: str
    speech: Path | None = None
    speaker: str = ""
    units: UnitsEntry | None = None


Choice = int | Literal["rotating"]
"""Which of an image's captions is spoken: its number, or `rotating` (see Item.chosen)."""


@dataclass(frozen=True, slots=True)
class Item:
    """One image of a split with all its captions.

    `facts` are true statements about the picture, as `KIND: VALUE|VALUE`, if the dataset has any.
    """

    id: str
    image: Path
    captions: tuple[Caption, ...]
    facts: tuple[str, ...] = ()

    def chosen(self, choice: Choice) -> int:
        """Returns the number of this image's caption for a choice that is made for all images.

        `rotating` chooses by a hash of the item's id, among the captions with recorded speech; if
        there are none, among those with units; otherwise among all. The number does not depend on
        the other items, and in a split each number is chosen about equally often.
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
    """One split of a dataset. `digest` covers ids, captions and the bytes of images and speech.

    `unusable` are the entries of the split that cannot be scored, each with the reason; every run
    reports them. `standing` says in what the split differs from the official one, and is empty for
    the official split. `whole` is the number of images of the official split or, for a selection,
    of the split that it was selected from. `plugin` is the installed package that provides
    this kind of dataset, with its version.
    """

    name: str
    split: str
    speech_kind: str
    items: tuple[Item, ...]
    _: KW_ONLY
    digest: str = ""
    unusable: tuple[tuple[str, str], ...] = ()
    standing: tuple[str, ...] = ()
    whole: int | None = None
    plugin: str = ""

    @property
    def references(self) -> dict[str, tuple[str, ...]]:
        """Item id → its captions, for all items."""
        return {item.id: tuple(c.text for c in item.captions) for item in self.items}

    @property
    def of(self) -> int:
        """The number of images of the whole split."""
        return len(self.items) if self.whole is None else self.whole

    def counted(self, n: int) -> str:
        """Returns the number of images and the split as text for a table."""
        return counted(n, self.of, self.name, self.split, standing=self.standing)


def no_items(dataset: Dataset) -> str:
    """Returns the message for a split without items, with the reasons of its first entries."""
    if not dataset.unusable:
        return "the split has no items; name another split or folder"
    reasons = "; ".join(f"{short(name)}: {reason}" for name, reason in dataset.unusable[:3])
    return f"no item of the split can be scored, {len(dataset.unusable)} cannot: {reasons}"


SUBSET = "a subset"


def counted(n: int, of: int, name: str, split: str, *, standing: Sequence[str]) -> str:
    """Returns text for a table, such as `15 of 1000 flickr8k test images (a subset)`."""
    images = f"{n} of {of} {name} {split} images"
    return f"{images} ({', '.join(standing)})" if standing else images


Half = Literal["train", "val"]
"""The split that a training learns from, and the one that it is validated on."""


class DatasetSpec(Strict, ABC):
    """One kind of dataset; its fields are keys of a job.

    `only_training` and `only_evaluation` are the keys that only one kind of job may have.
    `needs_training` are the keys that a training requires, `needs_speech` those that a training on
    speech requires too.
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
        """Returns the keys of a job for a folder with this kind of data; None for other folders.

        The pictures may also be in one of the `further` folders. Raises NoPictures for captions
        whose pictures are in none of them.
        """
        return None

    @abstractmethod
    def read(self) -> Dataset:
        """Returns the whole split that is evaluated, without its digest.

        The key `items` is applied later. Raises UserError for files that cannot be read.
        """

    @abstractmethod
    def half(self, half: Half, report: Progress) -> Sequence[Item]:
        """Returns the items of a training's split; none where the job names no such split."""

    def title(self) -> str:
        """Returns the dataset's name, as `read` does; raises UserError for an invalid file."""
        return self.name

    def of_split(self, split: str) -> Self:
        """Returns a copy with another split; raises UserError where there is no such split."""
        if "split" not in type(self).model_fields:
            raise UserError(f"{self.name}: has no splits to choose from; leave `splits` out")
        known: Self = validate(
            self.model_dump(mode="json") | {"split": split}, type(self), self.name
        )
        return known

    def placed(self) -> Self:
        """Returns a copy with absolute paths, for processes that run in other folders."""
        paths = {key: value.absolute() for key, value in self if isinstance(value, Path)}
        return self.model_copy(update=paths)

    @abstractmethod
    def computed(self) -> Path:
        """Returns the folder for the files that a training computes from it."""


def _given(spec: DatasetSpec, key: str) -> bool:
    # model_fields_set does not do: a job that was sent to a worker has set all fields.
    return getattr(spec, key) != type(spec).model_fields[key].default


def to_evaluate(spec: DatasetSpec) -> DatasetSpec:
    """Refuses keys that only a training uses; for validators."""
    return _fits(spec, spec.only_training, "only training uses it; remove it")


def to_train(spec: DatasetSpec) -> DatasetSpec:
    """Refuses keys that only an evaluation uses, and requires a training's; for validators."""
    return _trains(spec, spec.needs_training | spec.needs_speech)


def to_train_on_captions(spec: DatasetSpec) -> DatasetSpec:
    """Does the same as `to_train`, for a training that needs no recorded speech."""
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
"""Bytes of an item's name. File systems allow 255; the rest is for suffixes."""
MAX_NAME = 2_000
"""Characters of a file's path below its folder."""
MAX_CAPTION = 2_000
"""Characters; a longer caption means a file of another format, and METEOR would take too long."""
MAX_FILE_BYTES = 512 * 1024 * 1024


def unusable_name(name: str) -> str:
    """Returns why an item's files cannot have this name; "" if they can."""
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
        return "holds a control character"
    if len(name.encode()) > MAX_FILE_NAME:
        return f"is {len(name.encode())} bytes long; a name has at most {MAX_FILE_NAME}"
    return ""


def unusable_id(name: str) -> str:
    """Returns why this cannot be an item's id, which names files; "" if it can."""
    if not name.strip() or name in (".", ".."):
        return "is no name"
    if "/" in name or "\\" in name:
        return "holds a slash"
    return unusable_name(name)


def inside(root: Path, name: str) -> Path:
    """Returns the path of a name below a folder.

    Raises ValueError for a name that no file can have, for `..`, and for absolute and Windows
    paths. Only the text of the name is checked; links are followed.
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
    # On Linux a file's name may contain a backslash.
    if re.match(r"[A-Za-z]:[\\/]", name) or ("\\" in name and not (root / name).is_file()):
        raise ValueError(f"{name[:80]!r} is a Windows path; use / between folders")
    return root / name


def check_caption(text: str, at: str) -> None:
    """Raises UserError, naming the place `at`, for a caption that is too long or not text."""
    if len(text) > MAX_CAPTION:
        raise UserError(
            f"{at}: a caption of {len(text):,} characters; at most {MAX_CAPTION:,} are read"
        )
    if "\0" in text:
        raise UserError(f"{at}: a caption with a null character; convert the file")


def text_lines(path: Path) -> list[str]:
    """Returns the lines of a UTF-8 file, which end in LF or CR LF.

    `str.splitlines` would also split at U+2028, form feeds and others, which captions contain.
    Raises UserError where the file is missing, no plain file, too large, not UTF-8, or has line
    ends of CR alone.
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
    """Returns the SHA-256 of a split's content, 16 hex digits.

    A missing file is allowed, and gives another digest than its content.
    """
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
    """Returns the kind of a dataset's speech as text, from the captions' speech and speakers."""
    spoken = [c.speaker for item in items for c in item.captions if c.speech is not None]
    if not spoken:
        has_units = any(c.units is not None for item in items for c in item.captions)
        return "units of an unknown voice" if has_units else "none"
    speakers = set(spoken) - {""}
    several = f", {len(speakers)} speakers" if len(speakers) != 1 else ", one speaker"
    return f"recorded{several if speakers else ''}"
