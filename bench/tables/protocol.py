"""What all measured rows of a table share, as it is printed under it."""

from dataclasses import dataclass

from bench.datasets.base import counted


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What all measured rows of a run share; it is printed under every table.

    `legend` has heading, name and unit of the scores that the job has beyond those of every job.
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
        """How many of which images were measured, as a table says it."""
        return counted(self.items, self.of, self.dataset, self.split, self.standing)

    @property
    def data(self) -> str:
        """The dataset's name, with what is not official about the split."""
        return f"{self.dataset} ({', '.join(self.standing)})" if self.standing else self.dataset

    @property
    def partly(self) -> str:
        """`images`, where these are not a whole official test split; else nothing."""
        whole = self.split == "test" and self.items >= self.of and not self.standing
        return "" if whole else self.images
