"""Arrays that are larger than memory may be: files that are mapped, whole or not there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


@contextmanager
def written(file: Path, dtype: Any, shape: tuple[int, ...]) -> Iterator[npt.NDArray[Any]]:
    """A new array of `shape` to be filled, which is at `file` (.npy) when that is done.

    Its room on the disk is there from the start (OSError where there is none): writing to a mapped
    file on a full disk would kill the process.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(f".{os.getpid()}.part")
    try:
        rows = np.lib.format.open_memmap(partial, "w+", dtype, shape)
        with partial.open("r+b") as stream:
            os.posix_fallocate(stream.fileno(), 0, partial.stat().st_size)
        yield rows
        rows.flush()
        partial.replace(file)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
