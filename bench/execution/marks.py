"""Which of a run's items are done, in one byte an item."""

from collections.abc import Iterable, Mapping


class Marks:
    """A mark for every item of an index (name → number); names outside the index are ignored."""

    def __init__(self, index: Mapping[str, int], names: Iterable[str] = ()) -> None:
        self._index = index
        self._set = bytearray(len(index))
        self.count = 0
        self.add(names)

    def add(self, names: Iterable[str]) -> None:
        """Marks these items as done."""
        for name in names:
            number = self._index.get(name)
            if number is not None and not self._set[number]:
                self._set[number] = 1
                self.count += 1

    def copy(self) -> "Marks":
        """Returns a copy, which later marks do not change."""
        copied = Marks(self._index)
        copied._set, copied.count = bytearray(self._set), self.count
        return copied

    def __contains__(self, name: str) -> bool:
        number = self._index.get(name)
        return number is not None and bool(self._set[number])

    def keep(self, allowed: "Marks") -> None:
        """Removes the marks that `allowed` does not have."""
        pairs = zip(self._set, allowed._set, strict=True)
        self._set = bytearray(own & other for own, other in pairs)
        self.count = sum(self._set)

    @property
    def full(self) -> bool:
        """Whether every item is marked."""
        return self.count == len(self._set)
