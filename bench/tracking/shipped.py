"""The trackers that come with the suite; a new tracker is a file, and a name and a class here."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from bench.tracking.base import Tracker
from bench.tracking.mlflow import MlflowTracker
from bench.tracking.tensorboard import TensorboardTracker
from bench.tracking.wandb import WandbTracker

AnyTracker = Annotated[
    TensorboardTracker | MlflowTracker | WandbTracker, Field(discriminator="kind")
]
TrackerName = Literal["tensorboard", "mlflow", "wandb"]


def _form(value: Any) -> str:
    return "name" if isinstance(value, str) else "mapping"


Tracking = Annotated[
    Annotated[TrackerName, Tag("name")] | Annotated[AnyTracker, Tag("mapping")],
    Discriminator(_form),
]
"""A job's `tracking`: a tracker's name, or its settings."""


def tracker_of(tracking: TrackerName | Tracker) -> Tracker:
    """Returns the tracker that a job names, with default settings where it gives none."""
    if isinstance(tracking, Tracker):
        return tracking
    usual: dict[str, Tracker] = {
        "tensorboard": TensorboardTracker(kind="tensorboard"),
        "mlflow": MlflowTracker(kind="mlflow"),
        "wandb": WandbTracker(kind="wandb"),
    }
    return usual[tracking]
