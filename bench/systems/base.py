"""What a system is: the contract of everything that can be evaluated.

A kind of system is one file in this folder: a strict model of what a job says of it, with the
methods below, and a generator. It is named once more, in `bench.systems.shipped`. No other room
asks which kind it has.
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
"""Hz; what speech that has no rate of its own is made or read at."""


Loss = Literal["", "text", "ASR", "codec", "clarity"]
"""On the way from a caption as text to a model: what is lost up to a ceiling."""


class Role(StrEnum):
    """What a row is in a table: it competes, or bounds from above or below what can be reached."""

    SYSTEM = "system"
    CEILING = "ceiling"
    FLOOR = "floor"


@dataclass(frozen=True)
class Content:
    """All that a system's speech depends on, digests for names; `weights` and `codec` are digests.

    `pattern` is that of its codebooks, and `trained_on` the datasets that its weights say they have
    learnt to speak of, both for tables. `plugins` are those that it uses, beside that of its kind.
    """

    depends: Mapping[str, Any]
    pattern: str = ""
    weights: str = ""
    codec: str = ""
    trained_on: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()


@dataclass
class Lookup:
    """What systems look at to name their content; read and digested once a job."""

    dataset: Dataset
    known: dict[tuple[Any, ...], Any] = field(default_factory=dict)

    def once(self, key: tuple[Any, ...], make: Callable[[], T]) -> T:
        """Returns what `make` gives, made once for a key."""
        if key not in self.known:
            self.known[key] = make()
        value: T = self.known[key]
        return value

    def codec(self, name: str, bandwidth: float) -> "CodecFacts":
        """Returns what is known of a codec at a bandwidth in kbps."""
        return self.once(("codec", name, bandwidth), lambda: cached_codec_facts(name, bandwidth))


@dataclass(frozen=True)
class Variant:
    """One way in which a system is to generate; `key` is the speech's in the ledger.

    `system` is as it is at that point of the grid, with the one `prompt`; `caption` is the job's
    choice of the caption whose recorded speech is taken.
    """

    key: str
    prompt: float
    system: "System"
    caption: Choice = "rotating"


Asked = Sequence[tuple[Item, tuple[Variant, ...]]]
"""Items, each with the variants that are wanted of it."""

Made = list[tuple[str, SpeechRow]]
"""Rows with their variant's key, in the order asked."""


class Generator(Protocol):
    """Generates speech for items: one row for every item and variant asked, in order."""

    def generate(self, asked: Asked) -> Made: ...


@runtime_checkable
class Charging(Protocol):
    """A generator that is paid for."""

    def charged(self) -> float:
        """Returns what it has cost so far, in the currency of the job's prices."""


def label_of(folder: Path) -> str:
    """Returns a folder's name as a system's label."""
    return clean(folder.resolve().name)[:100].strip() or "system"


class System(Strict, ABC):
    """One kind of system; fields are what a job says of it.

    `role` is what it is in a table. `has_speech` is False for a text, which no ASR
    transcribes.
    `says_caption` marks speech whose words are a caption's, so that word errors can be counted;
    `continues` speech from where a prompt ends. `needs_images` marks what looks at pictures,
    `uses_gpu` what computes on the device that its generator is given; others get no GPU. `loss` is
    set for a ceiling: what is lost up to it, and not yet in the one before. What has the loss
    `clarity` is a measure for others, and no row of a table.
    """

    kind: str
    """Which kind of system it is."""
    label: Label
    """What tables call it."""

    role: ClassVar[Role] = Role.SYSTEM
    has_speech: ClassVar[bool] = True
    says_caption: ClassVar[bool] = False
    continues: ClassVar[bool] = False
    needs_images: ClassVar[bool] = False
    uses_gpu: ClassVar[bool] = False
    loss: ClassVar[Loss] = ""

    def __hash__(self) -> int:
        # Pydantic's own would hash each field, and options of a class are a dictionary.
        return hash(self.model_dump_json())

    @classmethod
    def recognised(cls, folder: Path, items: Sequence[Item]) -> Self | None:
        """What a job would say of a folder that holds such a system; None where it does not.

        `items` are those that are evaluated.
        """
        return None

    @abstractmethod
    def generator(self, device: str) -> Generator:
        """Yields what generates on a device; holds a model where there is one."""

    def content(self, lookup: Lookup) -> Content:
        """What its speech depends on; raises WeightsError, UserError or OSError for what is not."""
        return Content(self.model_dump(exclude={"label"}))

    def identified(self, lookup: Lookup) -> Content:
        """`content`, which also depends on the plug-ins that are used: on nothing where none is."""
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
        """Returns the values that the job names here of each axis that it may vary."""
        return {}

    def at(self, point: Mapping[str, Any]) -> Self:
        """Returns the system at one point: axes that it has set to the point's values."""
        return self

    def allowed(self, axis: str, value: Any) -> bool:
        """Returns whether it exists at a value of one of its axes."""
        return True

    def shared(self) -> "System":
        """Returns what one generator has to hold: the same for all variants that can share it."""
        return self.model_copy(update={"label": ""})

    def point(self) -> dict[str, Any]:
        """Returns where it is on each of its axes."""
        return {axis: values[0] for axis, values in self.values().items()}

    def described(self) -> list[str]:
        """Its place in the grid in words, for the name of a cell that has to last."""
        return []

    def sampled(self) -> bool:
        """Whether chance decides what it generates, so that one seed is one draw of several."""
        return False

    def details(self) -> dict[str, Any]:
        """Returns what tells variants of one label apart in tables, beside prompt and seed."""
        return {axis: v for axis, v in self.point().items() if axis not in ("prompt", "seed")}

    def decoding_signature(self) -> str:
        """Returns how its speech is decoded, for signatures; "" where nothing is."""
        return ""

    def in_training(self) -> str:
        """Returns what stands in the tables' column `training`."""
        return str(getattr(self, "training", self.role))

    def longest_seconds(self) -> float | None:
        """Returns the longest speech that it generates, s; None where nothing bounds it."""
        return None

    def batch(self, usual: int) -> int:
        """Returns how many items are generated at once."""
        return usual

    def codec_of(self) -> tuple[str, float] | None:
        """The codec that decodes its units and the bandwidth in kbps; None where it has none."""
        return None

    def sound(self, entry: ToTranscribe) -> tuple[Wave, int]:
        """Speech `[T]` and its rate in Hz of a row that holds none itself; raises SpeechError."""
        path = entry.file or self.sound_file(entry.row, entry.item)
        if path is None:
            raise SpeechError(f"{entry.row.item}: has no speech")
        return read_speech(path, RATE), RATE

    def sound_file(self, row: SpeechRow, item: Item) -> Path | None:
        """Returns the file of a row's speech; None where none is needed. Raises SpeechError."""
        return speech_file(item, row.caption)

    def weights_names(self) -> Sequence[str]:
        """Names of all weights that its generator loads (pixvox.weights.resolve)."""
        codec = self.codec_of()
        return () if codec is None else (codec[0],)

    def whole_files(self) -> Sequence[Path]:
        """Files that its generator reads whole, whatever items it is given."""
        return ()

    def reads_training(self) -> bool:
        """Whether its generator reads a training set, and so has to run on the driver's machine."""
        return False

    def gathered(self, file: Path) -> Self:
        """The system for generators on other machines, which read a training set from `file`.

        The file is written here. Itself where a generator reads none, or where that cannot be.
        """
        return self

    def entries(self) -> Sequence[str]:
        """Classes of the user's own that it needs, as `package.module:Class`."""
        return ()

    def item_view(self, items: Sequence[Item]) -> Mapping[str, Item] | None:
        """Items as the system sees them; None where each is itself."""
        return None

    def transcript(self, item: Item, caption: int) -> str:
        """Of what is a text: that text, of a caption; raises SpeechError where there is none."""
        raise SpeechError(f"{item.id}: has no text")

    def borrows(self, recorded: bool) -> Borrowing | None:
        """Whose transcripts of other images it takes; None where it generates speech itself.

        `recorded` says whether the dataset has recorded speech.
        """
        return None

    def uses_caption(self) -> bool:
        """Returns whether what it says depends on which caption the job takes.

        It then needs that caption's recorded speech, unless it is a text.
        """
        return False

    def files(self, items: Sequence[Item]) -> Sequence[Path]:
        """Audio files of its own that it needs for the items, there or not."""
        return ()

    def unmatched(self, items: Sequence[Item], whole: Dataset) -> Iterable[str]:
        """Lines that say how its own files and the items asked for do not match."""
        return ()

    def check(self) -> None:
        """Raises UserError for what would fail in every actor; may take seconds."""

    def prepare(self, report: Progress) -> None:
        """Computes and caches what all its generators need; may take long.

        Called once, by the driver, before they start. Raises UserError or WeightsError.
        """

    def likelihood(
        self, items: Sequence[Item], caption: Choice, device: str
    ) -> Mapping[str, float] | None:
        """Of each item's recorded caption: nats a unit, all before it given; None where unknown.

        Items whose recording cannot be used, or has no units, are left out.
        """
        return None

    def is_timed(self) -> bool:
        """Whether the time of its generator is its own, and not this suite's reading of files."""
        return self.uses_gpu and self.role is Role.SYSTEM

    def weights_for_speed(self) -> str | None:
        """The PixVoxLM weights whose decoding speed a gate compares, None for other systems."""
        return None


class EachItem(ABC):
    """A generator that takes items one at a time; what one raises is its row's reason."""

    @abstractmethod
    def generate_item(self, item: Item, variant: Variant) -> SpeechRow:
        """One row; raises SpeechError where there is no speech to be had."""

    def generate(self, asked: Asked) -> Made:
        return [(v.key, self._row(item, v)) for item, variants in asked for v in variants]

    def _row(self, item: Item, variant: Variant) -> SpeechRow:
        try:
            return self.generate_item(item, variant)
        except SpeechError as error:
            return SpeechRow(item.id, "failed", str(error), caption=caption_of(item, variant))


def caption_of(item: Item, variant: Variant) -> int:
    """The number of the caption that a variant says of an item, or continues; -1 for none."""
    return item.chosen(variant.caption) if variant.system.uses_caption() else -1


def speech_file(item: Item, number: int) -> Path:
    """Returns the file in which a caption is said; raises SpeechError where there is none."""
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
    """Lines that count the items that a file does not name, and the entries that name no item.

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
"""The cause of a row for which files are not on its actor's node, until the driver has looked."""


def needed_files(system: System, item: Item, caption: Choice) -> list[Path | UnitsEntry]:
    """Returns the files that a system needs of an item, and its units in files of many.

    Raises UserError where it cannot name its own files.
    """
    needed: list[Path | UnitsEntry] = list(system.files([item]))
    if system.needs_images:
        needed.append(item.image)
    if system.uses_caption() and system.has_speech and item.captions:
        for chosen in item.captions[item.chosen(caption) :][:1]:
            needed += [one for one in (chosen.speech, chosen.units) if one is not None]
    return needed


def lacks_files(system: System, item: Item, caption: Choice) -> bool:
    """Returns whether a file that the system needs of an item is not on this machine."""
    try:
        needed = needed_files(system, item, caption)
    except UserError:
        return True
    return not all((one if isinstance(one, Path) else one.file).is_file() for one in needed)


def no_file(path: Path, label: str, what: str) -> UserError:
    """Returns what is said of a file that a system needs and that is not there."""
    return UserError(f"{path}: no such file; {label} needs its {what}")
