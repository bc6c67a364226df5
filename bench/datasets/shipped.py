"""The kinds of dataset that come with the suite; a new kind is one line here."""

from pathlib import Path
from typing import Annotated, get_args

from pydantic import Field

from bench.datasets.base import DatasetSpec
from bench.datasets.flickr8k import Flickr8kSpec
from bench.datasets.folder import FolderSpec
from bench.datasets.karpathy import KarpathySpec
from bench.datasets.scenes.load import ScenesSpec
from bench.datasets.spokencoco import SpokenCocoSpec

AnyDataset = Annotated[
    ScenesSpec | Flickr8kSpec | FolderSpec | SpokenCocoSpec | KarpathySpec,
    Field(discriminator="name"),
]
"""What a job's `dataset`, or a training job's `data`, may hold."""


def recognise_dataset(folder: Path) -> DatasetSpec | None:
    """What a job would say of the data in a folder; None where it holds none."""
    kinds: tuple[type[DatasetSpec], ...] = get_args(get_args(AnyDataset)[0])
    return next((found for kind in kinds if (found := kind.recognised(folder))), None)
