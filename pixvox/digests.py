"""Digests of weights by content: names, shapes, types and numbers.

The same weights have the same digest in any container (safetensors in one file or in shards, a
PyTorch archive), whoever saved them, when, and under which name.
"""

import hashlib
import json
import pickle
import sys
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pixvox.errors import PixVoxError
from pixvox.safetensorsfile import Held, held_tensors

if TYPE_CHECKING:
    from torch import Tensor


class WeightsError(PixVoxError, ValueError):
    """Weights that are missing or must not be used; the message has the fix."""


_SAVING = ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "codec", "trained_on")
"""Keys of a configuration that describe how it was saved, and its training data. A PixVoxLM's codec
is identified by the digest in another field."""


def file_digest(path: Path) -> str:
    """Returns the SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def load_archive(path: Path) -> Any:
    """Returns a PyTorch file's content; raises WeightsError if it is damaged or contains code."""
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise WeightsError(
            f"{path}: not loaded: it is damaged, or would run code when unpickled; "
            "save it as safetensors"
        ) from error


def load_pickle(path: Path) -> "dict[str, Tensor]":
    """Returns the tensors of a PyTorch file; raises WeightsError if it contains anything else."""
    from torch import Tensor

    held = load_archive(path)
    if not isinstance(held, dict) or not all(isinstance(v, Tensor) for v in held.values()):
        raise WeightsError(f"{path}: holds more than named tensors; save its state dict alone")
    return held


def weight_files(folder: Path) -> list[Path]:
    """Returns a folder's files of weights: safetensors or, if there are none, PyTorch archives."""
    return sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))


def read_tensors(folder: Path) -> "Iterator[tuple[str, Tensor]]":
    """Yields every named tensor of a folder, file by file; raises WeightsError if there is none."""
    for path in _some_files(folder):
        if path.suffix == ".safetensors":
            yield from _safe_tensors(path)
        else:
            yield from load_pickle(path).items()


def _some_files(folder: Path) -> list[Path]:
    files = weight_files(folder)
    if not files:
        raise WeightsError(f"{folder}: neither .safetensors nor pytorch_model.bin is there")
    return files


def _safe_tensors(path: Path) -> "Iterator[tuple[str, Tensor]]":
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as held:
            yield from ((name, held.get_tensor(name)) for name in held.keys())  # noqa: SIM118
    except SafetensorError as error:
        raise _unreadable(path) from error


def _unreadable(path: Path) -> WeightsError:
    return WeightsError(f"{path}: not readable as safetensors; fetch it again")


def _tensor_digests(folder: Path) -> dict[str, str]:
    """Returns every named tensor's digest; does not import PyTorch for safetensors."""
    from safetensors import SafetensorError

    digests: dict[str, str] = {}
    for path in _some_files(folder):
        if path.suffix != ".safetensors":
            digests |= {name: _of(value).hex() for name, value in load_pickle(path).items()}
            continue
        try:
            digests |= {name: _of(value).hex() for name, value in held_tensors(path)}
        except SafetensorError as error:
            raise _unreadable(path) from error
    return digests


def _is_tensor(value: object) -> bool:
    # Without PyTorch there is no archive to read.
    return "torch" in sys.modules and isinstance(value, sys.modules["torch"].Tensor)


def _held(tensor: "Tensor") -> Held:
    import torch

    flat = tensor.contiguous().reshape(-1).view(torch.uint8).numpy()
    return Held(str(tensor.dtype), tuple(tensor.shape), flat.data)


def _of(value: object) -> bytes:
    """Returns the digest of tensors in nested mappings and sequences, whatever their order."""
    state = hashlib.sha256()
    match value:
        case _ if _is_tensor(value):
            return _of(_held(cast("Tensor", value)))
        case Held():
            state.update(f"tensor {value.dtype} {value.shape}\0".encode())
            state.update(value.data)
        case Mapping():
            state.update(b"mapping\0")
            for name in sorted(value, key=str):
                state.update(hashlib.sha256(str(name).encode()).digest() + _of(value[name]))
        case list() | tuple():
            state.update(b"sequence\0")
            for part in value:
                state.update(_of(part))
        case _:
            state.update(json.dumps(value, sort_keys=True, default=str).encode())
    return state.digest()


def _stated(content: object) -> object:
    """Returns a configuration without the keys that describe how it was saved."""
    if isinstance(content, dict):
        return {k: _stated(v) for k, v in content.items() if k not in _SAVING}
    if isinstance(content, list):
        return [_stated(part) for part in content]
    return content


def read_json(path: Path) -> Any:
    """Returns a JSON file's content; raises WeightsError if it is missing or not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WeightsError(f"{path}: not readable ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: not JSON ({error}); save the model again") from error


def archive_digest(path: Path) -> str:
    """Returns the digest of a PyTorch file's content, 16 hex digits; raises as load_archive."""
    status = path.stat()
    return _archive_digest(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=16)
def _archive_digest(path: Path, size: int, time: int) -> str:
    """Returns the same, computed once in a process for an unchanged file."""
    return _of(load_archive(path)).hex()[:16]


def digest(folder: Path) -> str:
    """Returns the digest of a folder of weights, 16 hex digits: its config.json and its tensors.

    Raises WeightsError if either is missing, or if there are no safetensors.
    """
    if not any(folder.glob("*.safetensors")):
        raise WeightsError(f"{folder}: no .safetensors file; other formats are not loaded")
    tensors = _tensor_digests(folder)
    return _of([_stated(read_json(folder / "config.json")), tensors]).hex()[:16]


def folder_digest(folder: Path) -> str:
    """Returns the digest of a folder that holds a model in any format, 16 hex digits.

    It covers weights as tensors, JSON files as content, and other files by their bytes. Cards,
    hidden files and the index of shards do not change the model's outputs and are left out.
    """
    weights = weight_files(folder)
    parts: dict[str, object] = {}
    for path in sorted(p for p in folder.iterdir() if p.is_file() and p not in weights):
        if path.name.startswith(".") or path.name.endswith((".md", ".index.json")):
            continue
        if path.suffix == ".json":
            parts[path.name] = _stated(read_json(path))
        else:
            parts[path.name] = file_digest(path)
    tensors = _tensor_digests(folder) if weights else {}
    return _of([parts, tensors]).hex()[:16]
