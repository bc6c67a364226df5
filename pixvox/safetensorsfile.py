"""Reads the tensors of a safetensors file without PyTorch.

A file has the header's length in 8 bytes, the header in JSON, and then the numbers
(github.com/huggingface/safetensors, "Format").
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path

_TYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "U16": "uint16",
    "U32": "uint32",
    "U64": "uint64",
    "I8": "int8",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "C64": "complex64",
}
"""The format's name of a type → PyTorch's."""


@dataclass(frozen=True)
class Held:
    """A tensor: its type as PyTorch prints it, its shape, and its numbers in C order."""

    dtype: str
    shape: tuple[int, ...]
    data: memoryview


def held_tensors(path: Path) -> Iterator[tuple[str, Held]]:
    """Yields every named tensor of a file; its bytes can be read until the next one is requested.

    Raises SafetensorError for a file that is damaged or truncated.
    """
    from safetensors import SafetensorError, safe_open

    with safe_open(path, "np"):
        # Opening checks the header against the file, so the code below can rely on it.
        pass
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as whole:
        start = 8 + int.from_bytes(whole[:8], "little")
        header = json.loads(whole[8:start])
        header.pop("__metadata__", None)
        for name, stated in header.items():
            if stated["dtype"] not in _TYPES:
                raise SafetensorError(f"{name}: the type {stated['dtype']} is not known here")
            begin, end = (start + offset for offset in stated["data_offsets"])
            with memoryview(whole) as view, view[begin:end] as data:
                dtype = f"torch.{_TYPES[stated['dtype']]}"
                yield name, Held(dtype, tuple(stated["shape"]), data)
