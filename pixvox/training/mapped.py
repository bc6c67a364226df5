"""Memory-mapped arrays that may be larger than memory, written atomically."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


@contextmanager
def written(file: Path, dtype: Any, shape: tuple[int, ...]) -> Iterator[npt.NDArray[Any]]:
    """Yields a new array of `shape` to fill, which is afterwards at `file` (.npy).

    Disk space is allocated at the start (raises OSError if there is none): writing to a mapped file
    on a full disk would kill the process.
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
