"""The assignment of images to a stepper's memories, and of slots to memories."""


class Memories:
    """Assigns memories to the slots' images; rows of one image share a memory if possible.

    With `grouped` slots, each `lanes` neighbours read the one memory of their group, as dense
    attention needs it. Otherwise any slot may read any memory, so an image is computed once for all
    rows that are decoded at the same time.
    """

    def __init__(self, slots: int, lanes: int, *, grouped: bool) -> None:
        self._lanes, self._grouped = lanes, grouped
        self._images: list[int | None] = [None] * (slots // lanes)
        self._entries: list[int | None] = [None] * slots

    def entry_of(self, slot: int) -> int:
        """Returns the memory that an assigned slot reads."""
        entry = self._entries[slot]
        assert entry is not None
        return entry

    def assign(self, slot: int, image: int) -> bool | None:
        """Assigns a memory for an image to a slot, and returns whether it has to be computed.

        Returns None, and assigns none, while other images' rows use all memories that the slot may
        read.
        """
        entries = range(len(self._images))
        if self._grouped:
            entries = range(slot // self._lanes, slot // self._lanes + 1)
        for entry in entries:
            if self._images[entry] == image:
                self._entries[slot] = entry
                return False
        for entry in entries:
            if entry not in self._entries:
                self._images[entry], self._entries[slot] = image, entry
                return True
        return None

    def release(self, slot: int) -> None:
        """Ends a slot's use of its memory, which keeps the image until another needs the memory."""
        self._entries[slot] = None
