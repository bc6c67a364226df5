"""The kinds of dataset that come with the suite; a new kind is one line here."""

from typing import Annotated

from pydantic import Field

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
