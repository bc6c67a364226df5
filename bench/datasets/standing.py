"""Which splits are the official ones: known by digests of their image names and captions.

`official/NAME-SPLIT.txt` has a line an image, sorted: `name_digest` and `captions_digest`. The 1000
test images of Flickr8k are those of its list that have captions: a copy of the list is about that
names one more, which the token file lacks.
"""

import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from bench.datasets.base import SUBSET, Item

_FOLDER = Path(__file__).parent / "official"
OWN_LIST, OWN_CAPTIONS, OWN_DATA = "own list", "own captions", "own data"
UNCHECKED = "list not checked"
"""What a split's standing may say; UNCHECKED where no official list is known here."""


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def name_digest(image: str) -> str:
    """The digest of an image's name."""
    return _short(image)


def captions_digest(image: str, captions: Iterable[str]) -> str:
    """The digest of an image's captions; their order and the white space in them are free."""
    texts = sorted(" ".join(caption.split()) for caption in captions)
    return _short("\0".join([image, *texts]))


@cache
def official(name: str, split: str) -> Mapping[str, str]:
    """Image name's digest → its captions' digest; empty where no official list is known."""
    path = _FOLDER / f"{name}-{split}.txt"
    lines = path.read_text(encoding="ascii").splitlines() if path.is_file() else []
    return {line[:8]: line[9:] for line in lines}


def standing_of(name: str, split: str, items: Iterable[Item]) -> tuple[tuple[str, ...], int | None]:
    """Returns `Dataset.standing` and `Dataset.whole` of items that a file calls a split."""
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
