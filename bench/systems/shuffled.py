"""Another image's speech or transcript: the score of speech that ignores the picture."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from bench.common.bounds import Label, Seed
from bench.datasets.base import Item
from bench.systems.base import Content, Generator, Lookup, Role, System
from bench.systems.borrowing import Borrowing, others
from bench.systems.recorded import RecordedGenerator


class ShuffledSystem(System):
    """Recorded speech of another image of the split: the score of speech that ignores the picture.

    Without recordings, or with `of`, it uses transcripts that a system of the job has for other
    images: that system's score without the picture.
    """

    kind: Literal["shuffled"]
    label: Label = "shuffled speech"
    of: Label | None = None
    """The label of the system whose transcripts are given to other images; `null` uses recorded
    speech or, if there is none, the first system that competes."""
    seed: Seed = 0
    """The seed of the assignment of images to each other."""

    role: ClassVar[Role] = Role.FLOOR

    def generator(self, device: str) -> Generator:
        return RecordedGenerator()

    def content(self, lookup: Lookup) -> Content:
        # The key of the system whose transcripts are used is part of the key already.
        exclude = {"label"} if self.of else {"label", "of"}
        return Content(depends=self.model_dump(exclude=exclude))

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
