"""The training images that have recorded captions, and what retrieval computes of them.

A `Library` reads the dataset on the driver's machine. A `SentLibrary` reads one file with all that
generators need, which is sent to other nodes (bench.execution.nodefiles).
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bench.common.progress import Progress
from bench.datasets.base import Caption, DatasetSpec, Item
from bench.datasets.unitcache import known_units, units_of
from bench.systems.consensus import Units, substitution_costs
from bench.systems.imagestates import States, encoder_digest, load_encoder, mean_states
from bench.systems.resynthesis import prompt_units
from bench.systems.trainingspeech import Recording, recordings, silent, training_items
from bench.systems.weightfacts import cached_codec_facts

if TYPE_CHECKING:
    from torch import Tensor

    from pixvox.codec.encodec import Codec

_RECORDED = Path("recorded")
"""A placeholder for the recordings of a SentLibrary, which are never opened."""


class Library:
    """The training images that have recorded captions, with their states and units.

    `codec` is the name and bandwidth in kbps of the codec through which captions are played.
    """

    def __init__(
        self,
        data: DatasetSpec,
        vision: str,
        codec: tuple[str, float] | None,
        *,
        report: Progress = silent,
    ) -> None:
        self.codec = cached_codec_facts(*codec) if codec is not None else None
        self.items: Sequence[Item] = training_items(data, self.codec, report)
        self.folder = data.computed() / "train"
        self.vision = vision

    def candidates(self, items: Sequence[Item]) -> list[Recording]:
        """Returns the recorded captions that can be played, in order."""
        return recordings(items, self.codec)

    def read_means(self, report: Progress, device: str) -> npt.NDArray[np.float64]:
        """Returns the images' mean states `[I, D]`, each of length 1; missing ones are computed."""
        return unit_length(self._states(report, device))

    def read_units(
        self, codec: "Codec", report: Progress
    ) -> tuple[dict[str, Units], npt.NDArray[np.int32]]:
        """Returns recordings' units `[N]` of the first codebook by name, and substitution costs."""
        spoken = self.candidates(self.items)
        all_units = units_of(
            [recording.caption for recording in spoken], codec, self.folder, report
        )
        # Copied, so that the memory of the other codebooks is freed.
        units = {
            recording.name: codebooks[0].numpy().copy()
            for recording, codebooks in zip(spoken, all_units, strict=True)
        }
        return units, substitution_costs(codec.engine.first_codebook().numpy())

    def played(self, recording: Recording, codec: "Codec") -> "Tensor":
        """Returns a recording's units `[K, N]`; raises SpeechError if there are none."""
        return prompt_units(recording.item, recording.number, 1.0, codec)

    def write(self, file: Path, codec: "Codec | None") -> bool:
        """Writes the file of a SentLibrary; returns False if units would have to be encoded."""
        spoken = self.candidates(self.items)
        arrays: dict[str, Any] = {"states": self._states(silent, "cpu")}
        if codec is not None:
            known = known_units([recording.caption for recording in spoken], codec, self.folder)
            if known is None:
                return False
            arrays["units"] = np.concatenate([units.numpy().astype(np.int16) for units in known], 1)
            arrays["frames"] = np.array([units.shape[1] for units in known], np.int64)
        names = {recording.name for recording in spoken}
        described = [
            (
                item.id,
                [
                    (caption.text, f"{item.id}#{n}" in names)
                    for n, caption in enumerate(item.captions)
                ],
            )
            for item in self.items
        ]
        arrays["items"] = np.array(json.dumps(described))
        with file.open("wb") as stream:
            np.savez(stream, **arrays)
        return True

    def _states(self, report: Progress, device: str) -> States:
        images = [item.image for item in self.items]
        return mean_states(
            images,
            encoder_digest(self.vision),
            lambda: load_encoder(self.vision, device),
            folder=self.folder,
            report=report,
        )


class SentLibrary(Library):
    """A library on another node, read from one file."""

    def __init__(self, file: Path) -> None:
        self.codec = None
        with np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        self._means: States = arrays["states"]
        self.items = [
            Item(name, Path(name), tuple(_caption(*pair) for pair in captions))
            for name, captions in json.loads(str(arrays["items"]))
        ]
        self._units: dict[str, npt.NDArray[np.int64]] = {}
        if "units" in arrays:
            names = [recording.name for recording in self.candidates(self.items)]
            ends = np.cumsum(arrays["frames"])
            parts = np.split(arrays["units"].astype(np.int64), ends[:-1], axis=1)
            self._units = dict(zip(names, parts, strict=True))

    def read_units(
        self, codec: "Codec", report: Progress
    ) -> tuple[dict[str, Units], npt.NDArray[np.int32]]:
        units = {name: units[0].copy() for name, units in self._units.items()}
        return units, substitution_costs(codec.engine.first_codebook().numpy())

    def played(self, recording: Recording, codec: "Codec") -> "Tensor":
        import torch

        return torch.from_numpy(self._units[recording.name].copy())

    def _states(self, report: Progress, device: str) -> States:
        return self._means


def _caption(text: str, is_recorded: bool) -> Caption:
    return Caption(text, _RECORDED if is_recorded else None)


def unit_length(states: States) -> npt.NDArray[np.float64]:
    """Returns states `[..., D]`, each scaled to length 1."""
    wide = states.astype(np.float64)
    return np.asarray(wide / np.linalg.norm(wide, axis=-1, keepdims=True).clip(1e-12))
