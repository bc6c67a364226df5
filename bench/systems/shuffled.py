"""Another image's speech or transcript: what fits any picture of the split."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from bench.common.bounds import Label, Seed
from bench.datasets.base import Item
from bench.systems.base import Content, Generator, Lookup, Role, System
from bench.systems.borrowing import Borrowing, others
from bench.systems.recorded import RecordedGenerator


class ShuffledSystem(System):
    """Recorded speech of another image of the split: what fits any picture.

    Without recordings, or with `of`, the transcripts of a system of the job for other images:
    what it scores that never looked.
    """

    kind: Literal["shuffled"]
    label: Label = "shuffled speech"
    of: Label | None = None
    """The label of the system whose transcripts are given to other images; `null` takes recorded
    speech or, without any, the first system that competes."""
    seed: Seed = 0
    """The seed of who takes whose."""

    role: ClassVar[Role] = Role.FLOOR

    def generator(self, device: str) -> Generator:
        return RecordedGenerator()

    def content(self, lookup: Lookup) -> Content:
        # Whose transcripts it takes is in its key by that system's own.
        exclude = {"label"} if self.of else {"label", "of"}
        return Content(self.model_dump(exclude=exclude))

    def item_view(self, items: Sequence[Item]) -> Mapping[str, Item] | None:
        """Returns every item with another's captions; `items` have to be the whole split's."""
        return shuffled(items, self.seed)

    def borrows(self, recorded: bool) -> Borrowing | None:
        return Borrowing(self.of, self.seed) if self.of is not None or not recorded else None

    def uses_caption(self) -> bool:
        return True


def shuffled(items: Sequence[Item], seed: int) -> dict[str, Item]:
    """Returns every item with the captions of another, over the whole split (see others)."""
    by_name = {item.id: item for item in items}
    paired = others(list(by_name), seed)
    return {
        name: Item(name, item.image, by_name[paired.get(name, name)].captions)
        for name, item in by_name.items()
    }
