"""Finding weights: a folder, a zoo name, or a hub id; and the digest that names what they are."""

import hashlib
import importlib.resources
from pathlib import Path

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
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise WeightsError(
            f"{name}: no such folder, and the hub did not give it ({type(error).__name__}); "
            "name a local folder of weights"
        ) from error


def digest(folder: Path) -> str:
    """SHA-256 over the folder's config.json and safetensors, 16 hex digits."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise WeightsError(f"{folder}: no .safetensors file; other formats are not loaded")
    state = hashlib.sha256()
    for path in [folder / "config.json", *files]:
        state.update(path.name.encode())
        with path.open("rb") as stream:
            state.update(hashlib.file_digest(stream, "sha256").digest())
    return state.hexdigest()[:16]
