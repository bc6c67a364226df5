"""The kinds of dataset that come with the suite, a line each, and those of plug-ins."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

from pydantic import Field

from bench.common.plugins import with_plugins
from bench.datasets.base import DatasetSpec
from bench.datasets.flickr8k import Flickr8kSpec
from bench.datasets.folder import FolderSpec
from bench.datasets.karpathy import KarpathySpec
from bench.datasets.recognition import first_recognised
from bench.datasets.scenes.load import ScenesSpec
from bench.datasets.spokencoco import SpokenCocoSpec
from pixvox.plugins import DATASETS

SHIPPED: tuple[type[DatasetSpec], ...] = (
    ScenesSpec,
    Flickr8kSpec,
    FolderSpec,
    SpokenCocoSpec,
    KarpathySpec,
)

if TYPE_CHECKING:
    AnyDataset = DatasetSpec
else:
    _KINDS = with_plugins(SHIPPED, DATASETS, key="name", base=DatasetSpec)
    AnyDataset = Annotated[_KINDS, Field(discriminator="name")]
"""A job's `dataset`, or a training job's `data`."""


def recognise_dataset(folder: Path, further: Sequence[Path] = ()) -> DatasetSpec | None:
    """Returns the keys of a job for the data in a folder; None where no kind recognises it.

    The pictures may also be in one of the `further` folders. Raises NoPictures for captions whose
    pictures are in none of them.
    """
    kinds: tuple[type[DatasetSpec], ...] = get_args(get_args(AnyDataset)[0])
    return first_recognised(partial(kind.recognised, folder, further) for kind in kinds)
