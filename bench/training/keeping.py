"""Stores a worker's log, checkpoints and weights: on its own disk, or with a cluster's driver.

Workers of a cluster do not have the driver's files. They are sent the prepared data and the last
checkpoint. The first worker sends its log, checkpoints and weights to an actor, from which the
driver collects them, so that only the driver reads and writes a training's files.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from bench.common.atomic import write_bytes
from bench.datasets.base import Item
from bench.execution.nodefiles import SentFile, remove_leftovers, session_folder
from bench.execution.parcels import Parcel
from bench.training.log import Log
from bench.training.spec import PixVoxJob, TrainingJob
from pixvox.modeling import PixVoxLM
from pixvox.training.captions import SpokenCaptions
from pixvox.training.checkpoint import STATE

STOP = "stop"
"""The name of a file in the state's folder; if it exists, workers end the training."""
_BEST = "best.pt"
_OUTPUT = "output"
Row = dict[str, Any]


def state_folder(job: TrainingJob) -> Path:
    """Returns the folder of a training's checkpoints and log, beside its output."""
    return job.output.with_name(job.output.name + ".training")


@dataclass(frozen=True)
class Given:
    """A worker's input: the model, both splits, and the items whose speech a judge scores."""

    model: PixVoxLM
    data: SpokenCaptions
    held: SpokenCaptions
    judged: tuple[Item, ...] = ()


class Keeper(Protocol):
    """Stores a worker's output; the worker reads and writes checkpoints in `folder`."""

    folder: Path

    def log(self, row: Row) -> None:
        """Stores a step's row of the log."""

    def stopped(self) -> bool:
        """Returns whether the training is to end after this step."""

    def sync(self) -> None:
        """Stores the checkpoints that were written since the last call."""

    def export(self, save: Callable[[Path], None]) -> None:
        """Stores the weights that `save` writes into a folder."""


class OwnDisk:
    """The keeper of a worker that has the driver's files."""

    def __init__(self, job: PixVoxJob) -> None:
        self.folder, self._output = state_folder(job), job.output
        self._log = Logged(job)

    def log(self, row: Row) -> None:
        self._log.write(row)

    def stopped(self) -> bool:
        return (self.folder / STOP).exists()

    def sync(self) -> None:
        """Does nothing: checkpoints are written to their own place."""

    def export(self, save: Callable[[Path], None]) -> None:
        save(self._output)


class Logged:
    """A training's log on this disk and, where the job asks for it, TensorBoard's."""

    def __init__(self, job: PixVoxJob) -> None:
        self._folder, self._last = state_folder(job), 0
        self._log = Log(self._folder)
        self._track = _tracker(job, self._folder)

    def write(self, row: Row) -> None:
        """Adds a row; the row of a repeated step replaces those from that step on."""
        if row["step"] <= self._last:
            self._log = Log(self._folder)
        self._last = row["step"]
        self._log.write(row)
        if self._track is not None:
            self._track(row)


def _tracker(job: PixVoxJob, folder: Path) -> Callable[[Row], None] | None:
    if job.tracking is None:
        return None
    from tensorboardX import SummaryWriter

    writer = SummaryWriter(str(folder / "tensorboard"))

    def track(row: Row) -> None:
        writer.add_scalar("loss/train", row["loss"], row["step"])
        for q, loss in enumerate(row["validation"] or ()):
            writer.add_scalar(f"loss/validation codebook {q + 1}", loss, row["step"])
        for name, score in (row["scores"] or {}).items():
            writer.add_scalar(f"speech/{name}", score, row["step"])

    return track


@dataclass(frozen=True)
class Sent:
    """The message to the workers of a cluster.

    `given` is the Ray reference of a Given whose splits are `packed`. `parcel` holds the job and
    the items whose speech a judge scores, with their pictures.
    """

    given: Any
    parcel: Parcel
    files: tuple[SentFile, ...]
    home: str


@dataclass
class Post:
    """Rows and files that the first worker has sent since the driver collected them last."""

    rows: list[Row] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)


class PostOffice:
    """An actor on the driver's node between the driver and the workers, which may be restarted.

    `checkpoint` holds the files that workers start from, by name: at first those on the driver's
    disk.
    """

    def __init__(self, sent: Sent, checkpoint: Mapping[str, bytes]) -> None:
        self._sent, self._checkpoint = sent, dict(checkpoint)
        self._post, self._stopped = Post(), False

    def begin(self) -> tuple[Sent, dict[str, bytes]]:
        """Returns a worker's message and the checkpoint to start from."""
        return self._sent, self._checkpoint

    def post_row(self, row: Row) -> bool:
        """Receives a step's row; returns whether the training is to end after it."""
        self._post.rows.append(row)
        return self._stopped

    def post_file(self, name: str, content: bytes) -> None:
        """Receives a file of the training's folder, or `output/NAME`."""
        self._post.files[name] = content
        if name in (STATE, _BEST):
            self._checkpoint[name] = content

    def stopped(self) -> bool:
        """Returns whether the training is to end."""
        return self._stopped

    def stop(self) -> None:
        """Ends the training after the current step."""
        self._stopped = True

    def take(self) -> Post:
        """Returns the rows and files received since the last call."""
        post, self._post = self._post, Post()
        return post


class ByPost:
    """The keeper of a cluster's worker: a folder of its Ray session, whose files are sent."""

    def __init__(self, office: Any, checkpoint: Mapping[str, bytes], folder: Path) -> None:
        self._office, self.folder = office, folder
        folder.mkdir(parents=True)
        for name, content in checkpoint.items():
            (folder / name).write_bytes(content)
        self._known = self._changed()

    def _changed(self) -> dict[str, int]:
        paths = (self.folder / name for name in (STATE, _BEST))
        return {path.name: path.stat().st_mtime_ns for path in paths if path.exists()}

    def log(self, row: Row) -> None:
        self._call("post_row", row)

    def stopped(self) -> bool:
        return bool(self._call("stopped"))

    def sync(self) -> None:
        now = self._changed()
        for name in now.keys() - {name for name in now if self._known.get(name) == now[name]}:
            self._call("post_file", name, (self.folder / name).read_bytes())
        self._known = now

    def export(self, save: Callable[[Path], None]) -> None:
        save(self.folder / _OUTPUT)
        for path in sorted((self.folder / _OUTPUT).iterdir()):
            self._call("post_file", f"{_OUTPUT}/{path.name}", path.read_bytes())

    def _call(self, method: str, *arguments: Any) -> Any:
        import ray

        return ray.get(getattr(self._office, method).remote(*arguments))


@contextmanager
def worker_folder() -> Iterator[Path]:
    """Gives a temporary folder for this worker of a cluster."""
    remove_leftovers()
    folder = session_folder() / f"training-{os.getpid()}"
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def checkpoint_of(folder: Path) -> dict[str, bytes]:
    """Returns the files that a training in this folder is resumed from, by name."""
    paths = (folder / name for name in (STATE, _BEST))
    return {path.name: path.read_bytes() for path in paths if path.exists()}


def keep_post(post: Post, job: PixVoxJob, log: Logged) -> None:
    """Writes rows and files, rows first, so that the log has every step of a checkpoint."""
    for row in post.rows:
        log.write(row)
    for name, content in post.files.items():
        place, _, file = name.rpartition("/")
        write_bytes((job.output if place else state_folder(job)) / file, content, durable=True)


def packed(captions: SpokenCaptions) -> SpokenCaptions:
    """Returns the captions with their units in one tensor `[K, sum of N]`, and the N of each.

    Each of several tensors that share memory would be pickled with all of it.
    """
    sizes = torch.tensor([units.shape[-1] for units in captions.units])
    # Ray stores a plain array once a node; a mapped one would be copied into every message.
    images = np.asarray(captions.images)
    return replace(captions, units=[torch.cat(list(captions.units), -1), sizes], images=images)


def unpacked_captions(captions: SpokenCaptions) -> SpokenCaptions:
    """Returns the captions that `packed` was given."""
    units, sizes = captions.units
    parts = units.split(sizes.tolist(), -1)
    return replace(captions, units=[part.contiguous() for part in parts])
