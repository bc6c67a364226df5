"""Karpathy's splits (Karpathy & Fei-Fei 2015) of Flickr8k, Flickr30k and COCO: a JSON file each."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from bench.common.progress import Progress
from bench.common.yamlfile import FilePath
from bench.datasets.base import Dataset, DatasetSpec, Half, Item, speech_kind
from bench.datasets.flickr8k import Recordings
from bench.datasets.gathering import Gathered, below
from bench.datasets.jsonfile import Loose, read_list, validate_object
from bench.datasets.narrated import kind_of_speech
from bench.datasets.recognition import first_recognised, image_folder
from bench.datasets.standing import standing_of

Split = Literal["train", "restval", "val", "test"]
_NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"


class _File(Loose):
    dataset: Annotated[str, Field(pattern=_NAME, max_length=40)]


class _Sentence(Loose):
    raw: str


class _Image(Loose):
    filename: str
    filepath: str = ""
    split: Split
    sentences: tuple[_Sentence, ...] = ()


def read_karpathy(
    file: Path, images: Path, split: Split, audio: Path | None
) -> tuple[str, Gathered]:
    """Returns the dataset's name, and the images of a split; `train` includes `restval`.

    Raises UserError naming an invalid entry.
    """
    whole, entries = read_list(file, "images")
    name = _title(whole, file)
    wanted = {"train", "restval"} if split == "train" else {split}
    recordings = Recordings(audio)
    gathered = Gathered()
    for number, content in enumerate(entries):
        at = f"{file}: images[{number}]"
        entry = validate_object(content, _Image, at)
        if entry.split not in wanted:
            continue
        path = f"{entry.filepath}/{entry.filename}" if entry.filepath else entry.filename
        captions = [
            recordings.caption(s.raw.strip(), entry.filename, n)
            for n, s in enumerate(entry.sentences)
        ]
        image = below(images, at)(path)
        gathered.add(at, image.stem, image, captions)
    return name, gathered


def _title(whole: Mapping[str, Any], file: Path) -> str:
    # Only this key is checked, because the file has many images.
    return validate_object({"dataset": whole.get("dataset")}, _File, str(file)).dataset


class KarpathySpec(DatasetSpec):
    """`dataset_flickr8k.json`, `dataset_flickr30k.json` or `dataset_coco.json`, and the images.

    `images` is the folder of the images, for COCO the one with `val2014` and `train2014`. `audio`
    is the Flickr Audio folder, for Flickr8k. A training writes the files that it computes to
    `folder`.
    """

    name: Literal["karpathy"]
    """Which dataset it is."""
    file: FilePath
    """The JSON file as distributed: Flickr8k's, Flickr30k's or COCO's."""
    images: FilePath
    """The folder of the images."""
    audio: FilePath | None = None
    """The Flickr Audio folder, for Flickr8k, or one of `pixvox narrate`."""
    split: Split = "test"
    """Which split is evaluated."""
    folder: FilePath = Path("work/karpathy")
    """The folder for the files that a training computes from the data."""

    only_training = frozenset({"folder"})
    only_evaluation = DatasetSpec.only_evaluation | {"split"}

    @classmethod
    def recognised(cls, folder: Path, further: Sequence[Path] = ()) -> Self | None:
        """Returns the spec of the first file whose test pictures are there."""
        files = sorted(folder.glob("dataset_*.json"))
        return first_recognised(partial(cls._of_file, file, further) for file in files)

    @classmethod
    def _of_file(cls, file: Path, further: Sequence[Path]) -> Self | None:
        title, split = read_karpathy(file, file.parent, "test", None)
        images = image_folder(file, split.items, further)
        if images is None:
            return None
        lists = sorted(file.parent.glob("*/wav2capt.txt")) if title == "flickr8k" else []
        audio = lists[0].parent if lists else None
        return cls(name="karpathy", file=file, images=images, audio=audio)

    def read(self) -> Dataset:
        name, gathered = read_karpathy(self.file, self.images, self.split, self.audio)
        natural = "natural, many speakers" if self.audio else speech_kind(gathered.items)
        kind = kind_of_speech(self.audio, natural)
        standing, whole = standing_of(name, self.split, gathered.items)
        return Dataset(
            name,
            self.split,
            kind,
            gathered.items,
            unusable=gathered.unusable,
            standing=standing,
            whole=whole,
        )

    def title(self) -> str:
        """Returns the dataset's name in the file; raises UserError where there is none."""
        return _title(read_list(self.file, "images")[0], self.file)

    def half(self, half: Half, report: Progress) -> Sequence[Item]:
        return read_karpathy(self.file, self.images, half, self.audio)[1].items

    def computed(self) -> Path:
        return self.folder
