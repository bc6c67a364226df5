"""The contract of a system: everything that can be evaluated.

A kind of system is one file in this folder: a strict model of its keys in a job, with the methods
below, and a generator. It is registered in `bench.systems.shipped`. No other folder asks which kind
a system has.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self, TypeVar, runtime_checkable

from bench.common.audio import SpeechError, Wave, read_speech
from bench.common.bounds import Label
from bench.common.errors import UserError
from bench.common.plugins import identity
from bench.common.progress import Progress
from bench.common.text import clean
from bench.common.yamlfile import Strict
from bench.datasets.base import Choice, Dataset, Item
from bench.datasets.storedunits import UnitsEntry
from bench.store.rows import SpeechRow, ToTranscribe
from bench.systems.axes import Axis
from bench.systems.borrowing import Borrowing
from bench.systems.weightfacts import cached_codec_facts
from pixvox.plugins import SYSTEMS

if TYPE_CHECKING:
    from pixvox.codec.facts import CodecFacts

T = TypeVar("T")

RATE = 16_000
"""Hz; the sample rate at which speech without a rate is read or generated."""


Loss = Literal["", "text", "ASR", "codec", "clarity"]
"""What a ceiling has lost compared with a caption as text. The waterfall names its steps by it."""


class Role(StrEnum):
    """A row's role in a table: a system that competes, an upper bound, or a lower bound."""

    SYSTEM = "system"
    CEILING = "ceiling"
    FLOOR = "floor"


@dataclass(frozen=True, kw_only=True)
class Content:
    """Everything that a system's speech depends on, with digests in place of names.

    `weights` and `codec` are digests. `pattern` is the pattern of its codebooks, and `trained_on`
    are the datasets that its weights name as their training data; both are shown in tables.
    `plugins` are the plug-ins that it uses, beside the one that adds its kind.
    """

    depends: Mapping[str, Any]
    pattern: str = ""
    weights: str = ""
    codec: str = ""
    trained_on: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()


@dataclass
class Lookup:
    """Cached reads and digests for `System.content`, shared by all systems of a job."""

    dataset: Dataset
    known: dict[tuple[Any, ...], Any] = field(default_factory=dict)

    def once(self, key: tuple[Any, ...], make: Callable[[], T]) -> T:
        """Returns what `make` returns; it is called once for each key."""
        if key not in self.known:
            self.known[key] = make()
        value: T = self.known[key]
        return value

    def codec(self, name: str, bandwidth: float) -> "CodecFacts":
        """Returns the facts about a codec at a bandwidth in kbps."""
        return self.once(("codec", name, bandwidth), lambda: cached_codec_facts(name, bandwidth))


@dataclass(frozen=True)
class Variant:
    """One way in which a system generates; `key` is the speech's key in the ledger.

    `system` is the system at that point of the grid, with the single `prompt` as a share of the
    speech; `caption` is the job's choice of the caption whose recorded speech is used.
    """

    key: str
    prompt: float
    system: "System"
    caption: Choice = "rotating"


Asked = Sequence[tuple[Item, tuple[Variant, ...]]]
"""Items, each with the variants to generate for it."""

Made = list[tuple[str, SpeechRow]]
"""Rows with their variant's key, in the order of `Asked`."""


class Generator(Protocol):
    """Generates speech for items: one row for every item and variant asked, in order."""

    def generate(self, asked: Asked) -> Made: ...


@runtime_checkable
class Charging(Protocol):
    """A generator whose service charges for requests."""

    def charged(self) -> float:
        """Returns the cost so far, in the currency of the job's prices."""


def label_of(folder: Path) -> str:
    """Returns a folder's name as a system's label."""
    return clean(folder.resolve().name)[:100].strip() or "system"


class System(Strict, ABC):
    """One kind of system; its fields are its keys in a job.

    `role` is its role in a table. `has_speech` is False for a text, which no ASR transcribes.
    `says_caption` is True if the words spoken are those of a caption, so that word errors can be
    counted; `continues` is True if the speech continues a prompt. `needs_images` is True if it
    reads the pictures, and `uses_gpu` if it computes on the device that its generator is given;
    other systems get no GPU. `loss` is set for a ceiling and names the loss that it adds to the
    ceiling before it. A system with the loss `clarity` is not shown in tables; the waterfall uses
    it.
    """

    kind: str
    """The kind of system."""
    label: Label
    """Its name in tables."""

    role: ClassVar[Role] = Role.SYSTEM
    has_speech: ClassVar[bool] = True
    says_caption: ClassVar[bool] = False
    continues: ClassVar[bool] = False
    needs_images: ClassVar[bool] = False
    uses_gpu: ClassVar[bool] = False
    loss: ClassVar[Loss] = ""

    def __hash__(self) -> int:
        # Pydantic would hash each field, and the options of a class are a dictionary.
        return hash(self.model_dump_json())

    @classmethod
    def recognised(cls, folder: Path, items: Sequence[Item]) -> Self | None:
        """Returns the system that a folder holds, as a job would declare it; None for another
        folder.

        `items` are the items to evaluate.
        """
        return None

    @abstractmethod
    def generator(self, device: str) -> Generator:
        """Returns a generator on a device; it holds the model if there is one."""

    def content(self, lookup: Lookup) -> Content:
        """Returns what its speech depends on; raises WeightsError, UserError or OSError."""
        return Content(depends=self.model_dump(exclude={"label"}))

    def identified(self, lookup: Lookup) -> Content:
        """Returns `content`, which also depends on the plug-ins that are used, if any."""
        content = self.content(lookup)
        used = tuple(filter(None, (identity(SYSTEMS, self.kind), *content.plugins)))
        if not used:
            return content
        return replace(content, depends={**content.depends, "plugins": used}, plugins=used)

    @classmethod
    def axes(cls) -> tuple[Axis, ...]:
        """Returns the axes that a job's grid may vary."""
        return ()

    def values(self) -> Mapping[str, tuple[Any, ...]]:
        """Returns, by axis, the values that the job sets here."""
        return {}

    def at(self, point: Mapping[str, Any]) -> Self:
        """Returns the system with its axes set to the values of one point of the grid."""
        return self

    def allowed(self, axis: str, value: Any) -> bool:
        """Returns whether the system can be evaluated at a value of one of its axes."""
        return True

    def shared(self) -> "System":
        """Returns the system that a generator loads, equal for all variants that can share one."""
        return self.model_copy(update={"label": ""})

    def point(self) -> dict[str, Any]:
        """Returns its value on each of its axes."""
        return {axis: values[0] for axis, values in self.values().items()}

    def described(self) -> list[str]:
        """Returns its place in the grid in words, for names of cells in files that are kept."""
        return []

    def sampled(self) -> bool:
        """Returns whether its speech is drawn at random, so that seeds are independent draws."""
        return False

    def details(self) -> dict[str, Any]:
        """Returns what distinguishes variants with one label in tables, beside prompt and seed."""
        return {axis: v for axis, v in self.point().items() if axis not in ("prompt", "seed")}

    def decoding_signature(self) -> str:
        """Returns how its speech is decoded, for signatures; "" if nothing is decoded."""
        return ""

    def in_training(self) -> str:
        """Returns its entry in the tables' column `training`."""
        return str(getattr(self, "training", self.role))

    def longest_seconds(self) -> float | None:
        """Returns the longest speech that it generates, in seconds; None if there is no limit."""
        return None

    def batch(self, usual: int) -> int:
        """Returns how many items are generated at once."""
        return usual

    def codec_of(self) -> tuple[str, float] | None:
        """Returns the codec of its units and the bandwidth in kbps; None if it has no codec."""
        return None

    def sound(self, entry: ToTranscribe) -> tuple[Wave, int]:
        """Returns the speech `[T]` of a row that stores none, and its rate; raises SpeechError."""
        path = entry.file or self.sound_file(entry.row, entry.item)
        if path is None:
            raise SpeechError(f"{entry.row.item}: has no speech")
        return read_speech(path, RATE), RATE

    def sound_file(self, row: SpeechRow, item: Item) -> Path | None:
        """Returns the file of a row's speech, or None if none is needed; raises SpeechError."""
        return speech_file(item, row.caption)

    def weights_names(self) -> Sequence[str]:
        """Returns the names of all weights that its generator loads (see
        pixvox.weights.resolve)."""
        codec = self.codec_of()
        return () if codec is None else (codec[0],)

    def whole_files(self) -> Sequence[Path]:
        """Returns the files that its generator reads whole, whichever items it is given."""
        return ()

    def reads_training(self) -> bool:
        """Returns whether its generator reads a training set, which only the driver's machine
        has."""
        return False

    def gathered(self, file: Path) -> Self:
        """Writes `file` and returns a system that reads its training set from there, for other
        nodes.

        Returns itself if its generator reads no training set, or the file cannot be written.
        """
        return self

    def entries(self) -> Sequence[str]:
        """Returns the user's classes that it needs, as `package.module:Class`."""
        return ()

    def item_view(self, items: Sequence[Item]) -> Mapping[str, Item] | None:
        """Returns the items as the system gets them; None if each is passed as it is."""
        return None

    def transcript(self, item: Item, caption: int) -> str:
        """Returns the words of a system that is a text; raises SpeechError if there are none."""
        raise SpeechError(f"{item.id}: has no text")

    def borrows(self, recorded: bool) -> Borrowing | None:
        """Returns whose transcripts of other images it uses; None if it generates speech.

        `recorded` is whether the dataset has recorded speech.
        """
        return None

    def uses_caption(self) -> bool:
        """Returns whether its speech depends on the caption that the job chooses.

        If so, and unless it is a text, it needs that caption's recorded speech.
        """
        return False

    def files(self, items: Sequence[Item]) -> Sequence[Path]:
        """Returns the audio files of its own that it needs for the items, existing or not."""
        return ()

    def unmatched(self, items: Sequence[Item], whole: Dataset) -> Iterable[str]:
        """Returns lines that report mismatches between its own files and the items."""
        return ()

    def check(self) -> None:
        """Raises UserError for an error that every actor would meet; may take seconds."""

    def prepare(self, report: Progress) -> None:
        """Computes and caches what all its generators need; may take long.

        Called once, by the driver, before they start. Raises UserError or WeightsError.
        """

    def likelihood(
        self, items: Sequence[Item], caption: Choice, device: str
    ) -> Mapping[str, float] | None:
        """Returns the loss of each item's recorded caption, in nats a unit; None if it is not
        known.

        Each unit is predicted from all units before it. Items without a usable recording or units
        are left out.
        """
        return None

    def is_timed(self) -> bool:
        """Returns whether its generator's time is the system's, not that of reading files."""
        return self.uses_gpu and self.role is Role.SYSTEM

    def weights_for_speed(self) -> str | None:
        """Returns the PixVoxLM weights whose decoding speed a gate compares; None for others."""
        return None


class EachItem(ABC):
    """A generator that generates one item at a time.

    A SpeechError that `generate_item` raises is the reason of a failed row.
    """

    @abstractmethod
    def generate_item(self, item: Item, variant: Variant) -> SpeechRow:
        """Returns a row; raises SpeechError if there is no speech."""

    def generate(self, asked: Asked) -> Made:
        return [(v.key, self._row(item, v)) for item, variants in asked for v in variants]

    def _row(self, item: Item, variant: Variant) -> SpeechRow:
        try:
            return self.generate_item(item, variant)
        except SpeechError as error:
            return SpeechRow(
                item=item.id, status="failed", reason=str(error), caption=caption_of(item, variant)
            )


def caption_of(item: Item, variant: Variant) -> int:
    """Returns the number of the caption that a variant speaks or continues; -1 for none."""
    return item.chosen(variant.caption) if variant.system.uses_caption() else -1


def speech_file(item: Item, number: int) -> Path:
    """Returns the file of a caption's recorded speech; raises SpeechError if there is none."""
    if number >= len(item.captions):
        raise SpeechError(f"{item.id}: has no caption {number}")
    path = item.captions[number].speech
    if path is None:
        if item.captions[number].units is not None:
            raise SpeechError(
                f"{item.id}: caption {number} has units but no sound; narrate it with its sound"
            )
        raise SpeechError(f"{item.id}: caption {number} has no recorded speech")
    if not path.is_file():
        raise SpeechError(f"{path.name}: no such file")
    return path


def unmatched_names(
    names: Collection[str], items: Sequence[Item], whole: Dataset, *, of: Path, entries: str
) -> Iterable[str]:
    """Yields lines that count the items without an entry in a file, and the entries without an
    item.

    `entries` is what the file's entries are called.
    """
    lacking = [item.id for item in items if item.id not in names]
    if lacking:
        yield f"{len(lacking)} of {len(items)} items have no entry in {of}; first: {lacking[0]}"
    known = {item.id for item in whole.items} | {name for name, _ in whole.unusable}
    odd = [name for name in names if name not in known]
    if odd:
        total = len(names)
        yield f"{len(odd)} of {total} {entries} of {of} name no item of the data; first: {odd[0]}"


ABSENT = "absent"
"""The cause of a row whose files are missing on its actor's node; the driver then checks."""


def needed_files(system: System, item: Item, caption: Choice) -> list[Path | UnitsEntry]:
    """Returns the files that a system needs of an item, and the entries of its stored units.

    Raises UserError if the system cannot name its own files.
    """
    needed: list[Path | UnitsEntry] = list(system.files([item]))
    if system.needs_images:
        needed.append(item.image)
    if system.uses_caption() and system.has_speech and item.captions:
        for chosen in item.captions[item.chosen(caption) :][:1]:
            needed += [part for part in (chosen.speech, chosen.units) if part is not None]
    return needed


def lacks_files(system: System, item: Item, caption: Choice) -> bool:
    """Returns whether a file that the system needs of an item is missing on this machine."""
    try:
        needed = needed_files(system, item, caption)
    except UserError:
        return True
    files = (part if isinstance(part, Path) else part.file for part in needed)
    return not all(file.is_file() for file in files)


def no_file(path: Path, label: str, what: str) -> UserError:
    """Returns the error for a file that a system needs and that is missing."""
    return UserError(f"{path}: no such file; {label} needs its {what}")
