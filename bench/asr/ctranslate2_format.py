"""Reads the binary format of CTranslate2 models (its `model_spec.py` writes it)."""

import io
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_DTYPES = {0: "<f4", 1: "<i1", 2: "<i2", 3: "<i4", 4: "<f2"}


class _JoinedFiles(io.RawIOBase):
    """Reads files one after another, as if they were one."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._unread = list(paths)
        self._stream: BinaryIO | None = None
        self._open_next()

    def _open_next(self) -> None:
        if self._stream is not None:
            self._stream.close()
        self._stream = self._unread.pop(0).open("rb") if self._unread else None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        while self._stream is not None:
            count = self._stream.readinto(buffer)  # type: ignore[attr-defined]
            if count:
                return int(count)
            self._open_next()
        return 0

    def close(self) -> None:
        self._unread.clear()
        self._open_next()
        super().close()


def open_joined(paths: Sequence[Path]) -> io.BufferedReader:
    """Returns a stream of the joined files' bytes; raises FileNotFoundError for a missing one."""
    return io.BufferedReader(_JoinedFiles(paths), 1 << 20)


def _number(stream: BinaryIO, form: str) -> int:
    size = struct.calcsize(form)
    data = stream.read(size)
    if len(data) != size:
        raise ValueError("truncated")
    return int(struct.unpack(form, data)[0])


def _string(stream: BinaryIO) -> str:
    return stream.read(_number(stream, "<H")).rstrip(b"\0").decode()


def read_variables(paths: Sequence[Path]) -> dict[str, npt.NDArray[np.generic]]:
    """Returns all tensors by name, aliases included, of a model whose file is split into `paths`.

    Raises ValueError where the file is truncated or of another version.
    """
    name_of_file = " + ".join(map(str, paths))
    variables: dict[str, npt.NDArray[np.generic]] = {}
    with open_joined(paths) as stream:
        version = _number(stream, "<I")
        if version != 6:
            raise ValueError(f"{name_of_file}: CTranslate2 format {version}; this reads format 6")
        _string(stream)
        _number(stream, "<I")
        for _ in range(_number(stream, "<I")):
            name = _string(stream)
            shape = [_number(stream, "<I") for _ in range(_number(stream, "<B"))]
            dtype = _DTYPES.get(kind := _number(stream, "<B"))
            if dtype is None:
                raise ValueError(f"{name_of_file}: {name} has element type {kind}, not known")
            data = stream.read(size := _number(stream, "<I"))
            if len(data) != size:
                raise ValueError(f"{name_of_file}: truncated at {name}")
            variables[name] = np.frombuffer(data, dtype).reshape(shape)
        for _ in range(_number(stream, "<I")):
            alias = _string(stream)
            variables[alias] = variables[_string(stream)]
    return variables
