"""Selects the captions that are read aloud, and names their files."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from bench.common.errors import UserError
from bench.common.text import plural, short
from bench.datasets.base import Dataset, Item, no_items
from bench.datasets.loading import select_items
from bench.narration.job import NarrationJob
from bench.systems.spoken import spoken
from bench.systems.voices import NO_WORD


@dataclass(frozen=True, order=True)
class Utterance:
    """One caption: its image's file name, its number, the name of its WAV file, the spoken text."""

    image: str
    number: int
    wav: str
    text: str


@dataclass(frozen=True)
class NarrationPlan:
    """The captions to read; `left_out` has a line for each caption that no voice can read."""

    datasets: tuple[Dataset, ...]
    utterances: tuple[Utterance, ...]
    left_out: tuple[str, ...]

    @property
    def title(self) -> str:
        """The number of images and their splits, as text."""
        splits = ", ".join(dataset.split for dataset in self.datasets)
        images = plural(sum(len(dataset.items) for dataset in self.datasets), "image")
        return f"{images} of {self.datasets[0].name} {splits}"


def read_datasets(job: NarrationJob) -> tuple[Dataset, ...]:
    """Returns the splits of a job, with only the items that it names; raises as `spec.read`."""
    specs = [job.dataset.of_split(split) for split in dict.fromkeys(job.splits)]
    datasets = [spec.read() for spec in specs or [job.dataset]]
    if job.dataset.items is not None:
        datasets = _cut(datasets, job)
    for dataset in datasets:
        if not dataset.items and job.dataset.items is None:
            raise UserError(f"{dataset.name} {dataset.split}: {no_items(dataset)}")
    return tuple(datasets)


def _cut(datasets: Sequence[Dataset], job: NarrationJob) -> list[Dataset]:
    """Returns the datasets with only the items that the job's `dataset.items` file lists."""
    assert job.dataset.items is not None
    together = replace(
        datasets[0],
        split=", ".join(dataset.split for dataset in datasets),
        items=tuple(item for dataset in datasets for item in dataset.items),
        unusable=tuple(entry for dataset in datasets for entry in dataset.unusable),
    )
    # Items of two splits may have the same name, so the chosen objects are compared.
    wanted = {id(item) for item in select_items(together, job.dataset.items).items}
    return [
        replace(dataset, items=tuple(i for i in dataset.items if id(i) in wanted), unusable=())
        for dataset in datasets
    ]


def plan_narration(job: NarrationJob) -> NarrationPlan:
    """Returns the captions that a job reads aloud.

    Raises UserError for names that cannot be written into its lists.
    """
    datasets = read_datasets(job)
    utterances: dict[str, Utterance] = {}
    left_out: list[str] = []
    for dataset in datasets:
        for item in dataset.items:
            for number, text in enumerate(_texts(item, job.captions)):
                utterance = Utterance(
                    item.image.name, number, f"{item.id}_{number}.wav", spoken(text)
                )
                if not utterance.text:
                    left_out.append(left_out_line(utterance, f"{NO_WORD}: {short(text)!r}"))
                elif utterances.setdefault(utterance.wav, utterance) != utterance:
                    raise UserError(
                        f"{item.id[:80]}: is in several splits with other captions; narrate each "
                        "split into a folder of its own"
                    )
    if job.layout == "flickr":
        _check_names(utterances.values())
    return NarrationPlan(datasets, tuple(utterances.values()), tuple(left_out))


def left_out_line(utterance: Utterance, reason: str) -> str:
    """Returns the line that is printed for a caption that cannot be read aloud."""
    return f"{utterance.image}#{utterance.number}: left out: {reason}"


def _texts(item: Item, captions: int | None) -> list[str]:
    return [caption.text for caption in item.captions[:captions]]


def _check_names(utterances: Iterable[Utterance]) -> None:
    """Raises UserError for names with spaces and for equal names in `wav2capt.txt`."""
    places: dict[tuple[str, int], str] = {}
    for utterance in utterances:
        if any(character.isspace() for character in utterance.image + utterance.wav):
            raise UserError(
                f"{utterance.image[:80]}: has a space in its name or id, which the layout of "
                "Flickr Audio cannot hold; use layout: manifest"
            )
        if places.setdefault((utterance.image, utterance.number), utterance.wav) != utterance.wav:
            raise UserError(
                f"{utterance.image[:80]}: several images have this name, which the layout of "
                "Flickr Audio cannot distinguish; use layout: manifest"
            )
