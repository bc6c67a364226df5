"""Flickr8k (Hodosh et al. 2013) and the Flickr Audio Caption Corpus (Harwath & Glass 2015).

Reads the folder in all forms that are distributed: the token file, which may have spaces for tabs,
CR LF, and `.jpg.1` names without an image, or a CSV instead; the split lists; the image folder
under several names; and `wav2capt.txt` and `wavs/` where there is speech.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Self

from bench.common.errors import UserError
from bench.common.progress import Progress
from bench.common.yamlfile import FilePath
from bench.datasets.base import (
    Caption,
    Dataset,
    DatasetSpec,
    Half,
    Item,
    check_caption,
    inside,
    text_lines,
    unusable_name,
)
from bench.datasets.csvfile import read_rows
from bench.datasets.narrated import kind_of_speech
from bench.datasets.standing import standing_of
from bench.datasets.storedunits import UnitsEntry, entries_beside, name_of

_SPLITS = {"train": "trainImages", "val": "devImages", "test": "testImages"}
_TOKEN_LINE = re.compile(r"^(?P<name>\S+)#(?P<number>[0-9]{1,6})[ \t]+(?P<text>.*\S)\s*$")
_SPEECH_LINE = re.compile(r"(?P<wav>\S+)\s+(?P<image>\S+)\s+#?(?P<number>[0-9]{1,6})")
_CAPTION_FILES = ("Flickr8k.token.txt", "captions.txt", "captions.csv")
_IMAGE_FOLDERS = ("Flicker8k_Dataset", "Flickr8k_Dataset", "Images", "images")


def read_tokens(path: Path) -> dict[str, list[str]]:
    """Returns the captions of each image name, sorted by number, from a token file."""
    captions_by_image: dict[str, dict[int, str]] = {}
    for number, line in enumerate(text_lines(path), 1):
        if not line.strip():
            continue
        match = _TOKEN_LINE.match(line)
        if match is None:
            raise UserError(f"{path}:{number}: expected NAME.jpg#N<TAB>caption, got {line[:60]!r}")
        check_caption(match["text"], f"{path}:{number}")
        captions = captions_by_image.setdefault(match["name"], {})
        if int(match["number"]) in captions:
            raise UserError(f"{path}:{number}: {match['name']}#{match['number']} appears twice")
        captions[int(match["number"])] = match["text"]
    return {
        name: [texts[key] for key in sorted(texts)] for name, texts in captions_by_image.items()
    }


def read_csv(path: Path) -> dict[str, list[str]]:
    """Returns the captions of each image name, in file order, from a CSV file."""
    captions_by_image: dict[str, list[str]] = {}
    for line, row in read_rows(path, ("image", "caption")):
        if not row["image"] or not row["caption"].strip():
            raise UserError(f"{path}:{line}: an image without a caption; fix the line")
        check_caption(row["caption"], f"{path}:{line}")
        captions_by_image.setdefault(row["image"], []).append(row["caption"].strip())
    return captions_by_image


def read_speech(folder: Path) -> dict[tuple[str, int], Path]:
    """Returns the speech file of each (image name, caption number), from `wav2capt.txt`."""
    path = folder / "wav2capt.txt"
    if not path.exists():
        raise UserError(
            f"{path}: no such file; name the folder of the Flickr Audio Caption Corpus, or have "
            "the captions read aloud: pixvox narrate"
        )
    speech_files = {}
    for number, line in enumerate(text_lines(path), 1):
        match = _SPEECH_LINE.fullmatch(line.strip())
        if match is None:
            raise UserError(f"{path}:{number}: expected WAV IMAGE #N, got {line[:60]!r}")
        try:
            file = inside(folder / "wavs", Path(match["wav"]).name)
        except ValueError as error:
            raise UserError(f"{path}:{number}: {error}") from error
        speech_files[match["image"], int(match["number"])] = file
    return speech_files


class Recordings:
    """The speech and units in a folder with the layout of Flickr Audio; empty for None."""

    def __init__(self, folder: Path | None) -> None:
        self._speech = read_speech(folder) if folder else {}
        self._units: Mapping[str, UnitsEntry] = entries_beside(folder) if folder else {}

    def caption(self, text: str, image: str, number: int) -> Caption:
        """Returns a caption with its speech and units in the folder."""
        speech = self._speech.get((image, number))
        name = name_of(Path(image).stem, number) if speech is None else speech.stem
        return Caption(text, speech, units=self._units.get(name))


def _captions_file(root: Path) -> dict[str, list[str]]:
    for name in _CAPTION_FILES:
        if (root / name).exists():
            reader = read_tokens if name.endswith("token.txt") else read_csv
            return reader(root / name)
    raise UserError(f"{root}: neither Flickr8k.token.txt nor captions.txt is there")


def read_flickr8k(
    root: Path, split: str, audio: Path | None = None
) -> tuple[tuple[Item, ...], tuple[tuple[str, str], ...]]:
    """Reads a split of the Flickr8k folder at `root`; `audio` is the Flickr Audio folder, if any.

    Returns the items, and the entries of the list that cannot be items, with the reason: no
    caption, listed twice, or a path instead of a name. An item whose image is missing is returned,
    so that a run counts its failure. Raises UserError for files that cannot be read.
    """
    captions = _captions_file(root)
    recordings = Recordings(audio)
    images = next((root / name for name in _IMAGE_FOLDERS if (root / name).is_dir()), None)
    if images is None:
        raise UserError(f"{root}: none of the image folders {', '.join(_IMAGE_FOLDERS)} is there")
    listing = root / f"Flickr_8k.{_SPLITS[split]}.txt"
    items: dict[str, Item] = {}
    unusable = []
    for number, line in enumerate(text_lines(listing), 1):
        name = line.strip()
        at = f"{listing.name}:{number}"
        if not name:
            continue
        if Path(name).name != name:
            unusable.append((name, f"{at}: a path, not an image name"))
        elif reason := unusable_name(name):
            unusable.append((name, f"{at}: {reason}"))
        elif Path(name).stem in items:
            unusable.append((name, f"{at}: listed twice"))
        elif name not in captions:
            unusable.append((name, f"{at}: has no caption"))
        else:
            texts = captions[name]
            spoken = tuple(recordings.caption(text, name, i) for i, text in enumerate(texts))
            items[Path(name).stem] = Item(Path(name).stem, images / name, spoken)
    return tuple(items.values()), tuple(unusable)


class Flickr8kSpec(DatasetSpec):
    """A folder in Flickr8k's own layout, and the Flickr Audio folder for prompts and ceilings.

    A training writes the files that it computes to `folder`.
    """

    name: Literal["flickr8k"]
    """Which dataset it is."""
    root: FilePath
    """The folder of images and captions, in Flickr8k's own layout."""
    audio: FilePath | None = None
    """The Flickr Audio folder, or one of `pixvox narrate`; prompts and ceilings need it."""
    split: Literal["train", "val", "test"] = "test"
    """Which split is evaluated."""
    folder: FilePath = Path("work/flickr8k")
    """The folder for the files that a training computes from the data."""

    only_training = frozenset({"folder"})
    only_evaluation = DatasetSpec.only_evaluation | {"split"}
    needs_speech = frozenset({"audio"})

    @classmethod
    def recognised(cls, folder: Path, further: Sequence[Path] = ()) -> Self | None:
        """Returns the spec of a Flickr8k folder, with the Flickr Audio folder if it is inside."""
        listed = (folder / f"Flickr_8k.{_SPLITS['test']}.txt").is_file()
        if not listed or not any((folder / name).is_file() for name in _CAPTION_FILES):
            return None
        audio = [path.parent for path in sorted(folder.glob("*/wav2capt.txt"))]
        return cls(name="flickr8k", root=folder, audio=audio[0] if audio else None)

    def read(self) -> Dataset:
        items, unusable = read_flickr8k(self.root, self.split, self.audio)
        kind = kind_of_speech(self.audio, "natural, many speakers" if self.audio else "none")
        standing, whole = standing_of(self.name, self.split, items)
        return Dataset(
            self.name, self.split, kind, items, unusable=unusable, standing=standing, whole=whole
        )

    def half(self, half: Half, report: Progress) -> Sequence[Item]:
        return read_flickr8k(self.root, half, self.audio)[0]

    def computed(self) -> Path:
        return self.folder
