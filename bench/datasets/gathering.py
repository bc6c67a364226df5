"""Collects the items of a file; an id may occur once, and unusable entries get a reason."""

from collections.abc import Callable, Sequence
from pathlib import Path

from bench.common.errors import UserError
from bench.datasets.base import Caption, Item, check_caption, inside, unusable_id


class Gathered:
    """Items in the order of a file, and its unusable entries, each with the reason."""

    def __init__(self) -> None:
        self._items: dict[str, Item] = {}
        self._places: dict[str, str] = {}
        self._unusable: list[tuple[str, str]] = []

    def add(self, at: str, name: str, image: Path, captions: Sequence[Caption]) -> None:
        """Adds an entry; `at` is its place in the file, for messages.

        Raises UserError for an id that cannot name files or that an earlier entry has, and for an
        empty or invalid caption.
        """
        if reason := unusable_id(name):
            raise UserError(f"{at}: the id {name[:80]!r} {reason}; give it another")
        if name in self._places:
            before = self._places[name]
            raise UserError(
                f"{at}: {name[:80]} occurs twice, first at {before}; remove one, or give it "
                "another id"
            )
        self._places[name] = at.rpartition("/")[2]
        for number, caption in enumerate(captions):
            if not caption.text.strip():
                raise UserError(f"{at}: {name[:80]}: caption {number} is empty; remove it")
            check_caption(caption.text, f"{at}: {name[:80]}")
        if captions:
            self._items[name] = Item(name, image, tuple(captions))
        else:
            self._unusable.append((name, f"{self._places[name]}: has no caption"))

    @property
    def items(self) -> tuple[Item, ...]:
        """The usable entries."""
        return tuple(self._items.values())

    @property
    def unusable(self) -> tuple[tuple[str, str], ...]:
        """The ids of unusable entries, each with the reason."""
        return tuple(self._unusable)


def below(root: Path, at: str) -> Callable[[str], Path]:
    """Returns a function from names below a folder to paths.

    The function raises UserError, naming the place `at`, where `inside` raises ValueError.
    """
    folder = "the current folder" if root == Path() else str(root)

    def find(name: str) -> Path:
        if not name.strip():
            raise UserError(f"{at}: names no file; write its path from {folder}")
        try:
            return inside(root, name)
        except ValueError as error:
            raise UserError(f"{at}: {error}; write its path from {folder}") from error

    return find
