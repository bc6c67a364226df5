"""Recognises official splits by digests of their image names and captions.

`official/NAME-SPLIT.txt` has a sorted line for each image: `name_digest` and `captions_digest`. The
list of Flickr8k's test images has the 1000 that have captions; one distributed copy of the list
names another image, which the token file lacks.
"""

import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from bench.datasets.base import SUBSET, Item

_FOLDER = Path(__file__).parent / "official"
OWN_LIST, OWN_CAPTIONS, OWN_DATA = "own list", "own captions", "own data"
UNCHECKED = "list not checked"
"""Texts of `Dataset.standing`; UNCHECKED is for splits without an official list here."""


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def name_digest(image: str) -> str:
    """Returns the digest of an image's name, 8 hex digits."""
    return _short(image)


def captions_digest(image: str, captions: Iterable[str]) -> str:
    """Returns the digest of an image's captions, whatever their order and white space."""
    texts = sorted(" ".join(caption.split()) for caption in captions)
    return _short("\0".join([image, *texts]))


@cache
def official(name: str, split: str) -> Mapping[str, str]:
    """Returns captions' digests by image names' digests; empty where there is no list here."""
    path = _FOLDER / f"{name}-{split}.txt"
    lines = path.read_text(encoding="ascii").splitlines() if path.is_file() else []
    return {line[:8]: line[9:] for line in lines}


def standing_of(name: str, split: str, items: Iterable[Item]) -> tuple[tuple[str, ...], int | None]:
    """Returns `Dataset.standing` and `Dataset.whole` for the items of a split's file."""
    known = official(name, split)
    if not known:
        return (UNCHECKED,), None
    digests = {
        name_digest(item.image.name): captions_digest(
            item.image.name, (caption.text for caption in item.captions)
        )
        for item in items
    }
    captions = (OWN_CAPTIONS,) if any(known.get(n, c) != c for n, c in digests.items()) else ()
    if not digests.keys() <= known.keys():
        return (OWN_LIST, *captions), None
    subset = (SUBSET,) if len(digests) < len(known) else ()
    return (*subset, *captions), len(known)
