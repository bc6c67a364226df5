"""Reads the binary format of CTranslate2 models (its `model_spec.py` writes it)."""

import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

_DTYPES = {0: "<f4", 1: "<i1", 2: "<i2", 3: "<i4", 4: "<f2"}


def _number(stream: BinaryIO, form: str) -> int:
    size = struct.calcsize(form)
    data = stream.read(size)
    if len(data) != size:
        raise ValueError("truncated")
    return int(struct.unpack(form, data)[0])


def _string(stream: BinaryIO) -> str:
    return stream.read(_number(stream, "<H")).rstrip(b"\0").decode()


def read_variables(path: Path) -> dict[str, npt.NDArray[np.generic]]:
    """All tensors by name, aliases included; raises ValueError where the file is not whole."""
    variables: dict[str, npt.NDArray[np.generic]] = {}
    with path.open("rb") as stream:
        version = _number(stream, "<I")
        if version != 6:
            raise ValueError(f"{path}: CTranslate2 format {version}; this reads format 6")
        _string(stream)
        _number(stream, "<I")
        for _ in range(_number(stream, "<I")):
            name = _string(stream)
            shape = [_number(stream, "<I") for _ in range(_number(stream, "<B"))]
            dtype = _DTYPES.get(kind := _number(stream, "<B"))
            if dtype is None:
                raise ValueError(f"{path}: {name} has element type {kind}, which is not known")
            data = stream.read(size := _number(stream, "<I"))
            if len(data) != size:
                raise ValueError(f"{path}: truncated at {name}")
            variables[name] = np.frombuffer(data, dtype).reshape(shape)
        for _ in range(_number(stream, "<I")):
            alias = _string(stream)
            variables[alias] = variables[_string(stream)]
    return variables
