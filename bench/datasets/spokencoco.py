"""SpokenCOCO (Hsu et al. 2021) as distributed: JSON files, `wavs/`, and COCO's images."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal, Self

from bench.common.progress import Progress
from bench.common.yamlfile import FilePath
from bench.datasets.base import Caption, Dataset, DatasetSpec, Half, Item, speech_kind
from bench.datasets.gathering import Gathered, below
from bench.datasets.jsonfile import Loose, read_list, validate_object
from bench.datasets.recognition import first_recognised, image_folder
from bench.datasets.standing import UNCHECKED


class _Caption(Loose):
    text: str
    wav: str | None = None
    speaker: str = ""
    uttid: str = ""


class _Entry(Loose):
    image: str
    captions: tuple[_Caption, ...] = ()


def read_spokencoco(file: Path, images: Path, audio: Path) -> Gathered:
    """Returns the entries of a JSON file; raises UserError naming an invalid entry."""
    gathered = Gathered()
    for number, content in enumerate(read_list(file, "data")[1]):
        at = f"{file}: data[{number}]"
        entry = validate_object(content, _Entry, at)
        image = below(images, at)(entry.image)
        speech = below(audio, at)
        captions = [
            Caption(c.text, speech(c.wav) if c.wav is not None else None, c.speaker)
            for c in entry.captions
        ]
        gathered.add(at, image.stem, image, captions)
    return gathered


class SpokenCocoSpec(DatasetSpec):
    """A JSON file of SpokenCOCO; `images` is COCO's folder, `audio` the one that has `wavs/`.

    The default of both is the file's own folder. `validation` is another JSON file. A training
    writes the files that it computes to `folder`.
    """

    name: Literal["spokencoco"]
    """Which dataset it is."""
    file: FilePath
    """The split's JSON file as distributed."""
    images: FilePath | None = None
    """The folder of COCO's images; `null` for the file's own."""
    audio: FilePath | None = None
    """The folder that has `wavs/`; `null` for the file's own."""
    validation: FilePath | None = None
    """Another split's file, with a training's validation data."""
    folder: FilePath = Path("work/spokencoco")
    """The folder for the files that a training computes from the data."""

    only_training = frozenset({"validation", "folder"})

    @classmethod
    def recognised(cls, folder: Path, further: Sequence[Path] = ()) -> Self | None:
        """Returns the spec of the first file whose pictures exist; training files come last."""
        files = sorted(
            folder.glob("SpokenCOCO_*.json"), key=lambda path: ("train" in path.stem, path)
        )
        return first_recognised(partial(cls._of_file, file, further) for file in files)

    @classmethod
    def _of_file(cls, file: Path, further: Sequence[Path]) -> Self | None:
        folder = file.parent
        images = image_folder(file, read_spokencoco(file, folder, folder).items, further)
        if images is None:
            return None
        return cls(name="spokencoco", file=file, images=None if images == folder else images)

    def _gather(self, file: Path) -> Gathered:
        return read_spokencoco(file, self.images or file.parent, self.audio or file.parent)

    def read(self) -> Dataset:
        gathered = self._gather(self.file)
        kind = speech_kind(gathered.items)
        split = self.file.stem.removeprefix("SpokenCOCO_")
        return Dataset(
            self.name,
            split,
            kind,
            gathered.items,
            unusable=gathered.unusable,
            standing=(UNCHECKED,),
        )

    def half(self, half: Half, report: Progress) -> Sequence[Item]:
        file = self.file if half == "train" else self.validation
        return self._gather(file).items if file is not None else ()

    def computed(self) -> Path:
        return self.folder
