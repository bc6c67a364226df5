"""Which of a run's items are done: a byte an item, however many items there are."""

from collections.abc import Iterable, Mapping


class Marks:
    """A mark for every item of an index (name → number); other names are not the run's."""

    def __init__(self, index: Mapping[str, int], names: Iterable[str] = ()) -> None:
        self._index = index
        self._set = bytearray(len(index))
        self.count = 0
        self.add(names)

    def add(self, names: Iterable[str]) -> None:
        """Marks items."""
        for name in names:
            number = self._index.get(name)
            if number is not None and not self._set[number]:
                self._set[number] = 1
                self.count += 1

    def copy(self) -> "Marks":
        """The marks as they are now."""
        other = Marks(self._index)
        other._set, other.count = bytearray(self._set), self.count
        return other

    def __contains__(self, name: str) -> bool:
        number = self._index.get(name)
        return number is not None and bool(self._set[number])

    def keep(self, others: "Marks") -> None:
        """Keeps only marks that the others have too."""
        pairs = zip(self._set, others._set, strict=True)
        self._set = bytearray(mine & theirs for mine, theirs in pairs)
        self.count = sum(self._set)

    @property
    def full(self) -> bool:
        """Whether every item is marked."""
        return self.count == len(self._set)
