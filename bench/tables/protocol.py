"""The protocol that all measured rows of a table share, as it is printed below it."""

from dataclasses import dataclass

from bench.datasets.base import counted


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """The protocol that all measured rows of a run share, printed below every table.

    `legend` has the heading, name and unit of scores beyond the standard metrics'.
    """

    dataset: str
    split: str
    dataset_digest: str
    speech: str
    items: int
    of: int
    asr: str
    references: str
    left_out: str = "none"
    normaliser: str = "none"
    confidence: float = 0.95
    unusable: int = 0
    standing: tuple[str, ...] = ()
    legend: tuple[tuple[str, str, str], ...] = ()

    @property
    def images(self) -> str:
        """The number of images and their dataset, as in a table."""
        return counted(self.items, self.of, self.dataset, self.split, standing=self.standing)

    @property
    def data(self) -> str:
        """The dataset's name, with the differences from the official split."""
        return f"{self.dataset} ({', '.join(self.standing)})" if self.standing else self.dataset

    @property
    def partly(self) -> str:
        """`images` if they are not a whole official test split; else ""."""
        whole = self.split == "test" and self.items >= self.of and not self.standing
        return "" if whole else self.images
