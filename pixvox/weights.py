"""Finding weights: a folder, a zoo name, or a hub id; and the digest that names what they are."""

import hashlib
import importlib.resources
import pickle
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

ZOO_PREFIX = "zoo:"


class WeightsError(ValueError):
    """Weights that cannot be had or must not be used; the message names the mend."""


def zoo_folder() -> Path:
    """Where the weights that ship with the package lie."""
    return Path(str(importlib.resources.files("pixvox") / "zoo"))


def resolve(name: str) -> Path:
    """The local folder of weights named `zoo:NAME`, a path, or a hub id.

    A hub id is fetched (safetensors and JSON only). Raises WeightsError naming what is missing.
    """
    if name.startswith(ZOO_PREFIX):
        folder = zoo_folder() / name.removeprefix(ZOO_PREFIX)
        if not (folder / "config.json").exists():
            shipped = sorted(path.parent.name for path in zoo_folder().glob("*/config.json"))
            raise WeightsError(f"{name}: not in the zoo; choose one of {', '.join(shipped)}")
        return folder
    folder = Path(name).expanduser()
    if (folder / "config.json").exists():
        return folder
    if folder.exists() or name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise WeightsError(f"{name}: no config.json there; name a folder of weights or a hub id")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors"]))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise WeightsError(
            f"{name}: no such folder, and the hub did not give it ({type(error).__name__}); "
            "name a local folder of weights"
        ) from error


def file_of(name: str) -> Path:
    """A weights file by its path; raises WeightsError where there is none."""
    path = Path(name).expanduser()
    if not path.is_file():
        raise WeightsError(f"{name}: no such file; name a checkpoint, a folder or a hub id")
    return path


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def load_pickle(path: Path) -> dict[str, Tensor]:
    """The tensors of a PyTorch pickle; raises WeightsError for one that holds anything else."""
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise WeightsError(
            f"{path}: not loaded: it is damaged, or would run code when unpickled; "
            "save it as safetensors"
        ) from error
    if not isinstance(held, dict) or not all(isinstance(v, Tensor) for v in held.values()):
        raise WeightsError(f"{path}: holds more than named tensors; save its state dict alone")
    return held


def read_tensors(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """Every named tensor of a folder: safetensors, or, where there are none, a safe pickle."""
    from safetensors import SafetensorError, safe_open

    files = sorted(folder.glob("*.safetensors"))
    pickles = sorted(folder.glob("pytorch_model*.bin"))
    if not files and not pickles:
        raise WeightsError(f"{folder}: neither .safetensors nor pytorch_model.bin is there")
    for path in files:
        try:
            with safe_open(path, "pt") as held:
                yield from ((name, held.get_tensor(name)) for name in held.keys())  # noqa: SIM118
        except SafetensorError as error:
            raise WeightsError(f"{path}: not readable as safetensors; fetch it again") from error
    for path in () if files else pickles:
        yield from load_pickle(path).items()


def digest(folder: Path) -> str:
    """SHA-256 over the folder's config.json and safetensors, 16 hex digits."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise WeightsError(f"{folder}: no .safetensors file; other formats are not loaded")
    state = hashlib.sha256()
    for path in [folder / "config.json", *files]:
        state.update(path.name.encode())
        state.update(bytes.fromhex(file_digest(path)))
    return state.hexdigest()[:16]
