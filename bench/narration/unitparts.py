"""A narration's units: one small file for each caption during the run, one packed file after it."""

import io
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from bench.common.atomic import write_bytes
from bench.common.audio import SpeechError
from bench.common.errors import UserError
from bench.datasets.storedunits import UNITS, Units, read_units_file, write_packed


class UnitParts:
    """The units in a narration's folder, by captions' names.

    A caption's own file replaces its units in the packed file. If a process is killed, the next run
    merges the captions' files that it left.
    """

    def __init__(self, path: Path) -> None:
        self.file = path / UNITS
        self.folder = path / ".units"

    def has(self, name: str) -> bool:
        """Returns whether a caption's units are here and complete."""
        return name in self._packed() or self._part(self._path(name)) is not None

    def keep(self, name: str, units: Units) -> None:
        """Writes a caption's units, `[K, N]`."""
        buffer = io.BytesIO()
        np.save(buffer, units, allow_pickle=False)
        write_bytes(self._path(name), buffer.getvalue())

    def remove(self, names: Iterable[str]) -> None:
        """Removes captions' units."""
        names = set(names)
        for name in names:
            self._path(name).unlink(missing_ok=True)
        packed = self._packed()
        if names.isdisjoint(packed):
            return
        left = {name: units for name, units in packed.items() if name not in names}
        if left:
            write_packed(self.file, read_units_file(self.file).codec, left)
        else:
            self.file.unlink()

    def merge(self, codec: str) -> None:
        """Writes all units as one file, with their codec's digest, and removes captions' files."""
        parts = sorted(self.folder.glob("*.npy"))
        units = {path.stem: part for path in parts if (part := self._part(path)) is not None}
        if units:
            write_packed(self.file, codec, {**self._packed(), **units})
        for path in parts:
            path.unlink()
        if self.folder.exists():
            self.folder.rmdir()

    def _packed(self) -> Mapping[str, Units]:
        if not self.file.exists():
            return {}
        try:
            return read_units_file(self.file).units
        except SpeechError as error:
            raise UserError(f"{self.file.parent}: {error}") from error

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.npy"

    def _part(self, path: Path) -> Units | None:
        """Returns a caption's units; None where the file is missing or incomplete."""
        try:
            units: Units = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        return units
