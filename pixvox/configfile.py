"""Reads the config.json of weights, and checks its type and its sizes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub.errors import StrictDataclassError

from pixvox.digests import WeightsError, read_json

if TYPE_CHECKING:
    from pixvox.configuration import PixVoxConfig

MAX_BYTES = 4 * 1024 * 1024

SIZES = {
    "hidden_size": 65_536,
    "num_hidden_layers": 1_000,
    "num_attention_heads": 1_000,
    "intermediate_size": 262_144,
    "max_position_embeddings": 1_000_000,
    "num_codebooks": 64,
    "codebook_size": 32_767,
    "frame_rate": 1_000,
}
VISION_SIZES = {
    "hidden_size": 65_536,
    "num_hidden_layers": 1_000,
    "num_attention_heads": 1_000,
    "intermediate_size": 262_144,
    "hidden_dim": 65_536,
    "image_size": 8_192,
    "patch_size": 8_192,
}
"""The largest size of any model; units are stored as 16-bit integers."""


def read_config(folder: Path, kind: str | None = None) -> dict[str, Any]:
    """Returns a folder's config.json; raises WeightsError if it is not a JSON object of this
    `kind`.

    `kind` is the required `model_type`.
    """
    path = folder / "config.json"
    if path.is_file() and path.stat().st_size > MAX_BYTES:
        raise WeightsError(f"{path}: larger than {MAX_BYTES:,} bytes; fetch it again")
    content = read_json(path)
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: not a JSON object; save or fetch the model again")
    stated = content.get("model_type")
    if kind is not None and stated != kind:
        described = f"a model of type {str(stated)[:40]!r}" if stated is not None else "no model's"
        raise WeightsError(f"{path}: {described}, and {kind!r} is needed; name other weights")
    return content


@contextmanager
def wrap_config_errors(path: Path) -> Iterator[None]:
    """Raises the errors of a configuration class as a WeightsError that names the file.

    The classes of transformers raise any exception of the first calculation with a wrong value.
    """
    try:
        yield
    except WeightsError as error:
        if str(path) in str(error):
            raise
        raise WeightsError(f"{path}: {error}") from error
    except (TypeError, ValueError, ArithmeticError, AttributeError, StrictDataclassError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"{path}: {reason}; save or fetch the model again") from error


def check_sizes(path: Path, held: Mapping[str, Any], most: Mapping[str, int]) -> None:
    """Raises WeightsError for a stated size that is not a whole number from 1 to the maximum."""
    for name in most.keys() & held.keys():
        value, limit = held[name], most[name]
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= limit:
            raise WeightsError(
                f"{path}: {name} is {str(value)[:40]}; a whole number from 1 to {limit:,} is needed"
            )


def check_config(path: Path, config: "PixVoxConfig") -> "PixVoxConfig":
    """Returns the configuration after checking its sizes; raises WeightsError naming the file."""
    vision: Any = config.vision_config
    check_sizes(path, vars(config), SIZES)
    check_sizes(path, vars(vision), VISION_SIZES)
    for held in (config, vision):
        # Convolutional networks have no heads.
        heads = getattr(held, "num_attention_heads", 1)
        if heads > 1 and held.hidden_size % heads:
            raise WeightsError(
                f"{path}: hidden_size {held.hidden_size} is not a multiple of "
                f"num_attention_heads {heads}"
            )
    patch, size = getattr(vision, "patch_size", 1), config.image_size
    if size is not None and patch > size:
        raise WeightsError(f"{path}: patches of {patch} px, images smaller than one")
    # Raises WeightsError if the image encoder does not accept pictures of that size.
    _ = config.image_positions
    return config


def pixvox_config(folder: Path) -> "PixVoxConfig":
    """Returns a PixVoxLM's configuration; raises WeightsError if config.json is not one."""
    from pixvox.configuration import PixVoxConfig

    path = folder / "config.json"
    stated = read_config(folder, "pixvox")
    vision = stated.get("vision_config", {})
    if not isinstance(vision, dict):
        raise WeightsError(f"{path}: vision_config is no object; save or fetch the model again")
    # transformers computes with the values before they can be checked.
    check_sizes(path, stated, SIZES)
    check_sizes(path, vision, VISION_SIZES)
    with wrap_config_errors(path):
        return check_config(path, PixVoxConfig.from_pretrained(folder))
