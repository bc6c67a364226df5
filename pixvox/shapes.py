"""Checks from headers alone whether a folder's weights are complete and fit a model."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pixvox.digests import WeightsError, load_pickle, weight_files

if TYPE_CHECKING:
    from torch import nn

Shapes = dict[str, tuple[int, ...]]


def tensor_shapes(folder: Path) -> Shapes:
    """Returns the shape of every named tensor in a folder.

    Only headers of safetensors are read, which also reveal a truncated file. Raises WeightsError
    for a damaged file, or if there is none.
    """
    from safetensors import SafetensorError, safe_open

    files = weight_files(folder)
    if not files:
        raise WeightsError(f"{folder}: neither .safetensors nor pytorch_model.bin is there")
    shapes: Shapes = {}
    for path in files:
        if path.suffix != ".safetensors":
            shapes |= {name: tuple(value.shape) for name, value in load_pickle(path).items()}
            continue
        try:
            with safe_open(path, "np") as held:
                names = held.keys()
                shapes |= {name: tuple(held.get_slice(name).get_shape()) for name in names}
        except (SafetensorError, OSError) as error:
            reason = " ".join(str(error).split())[:200]
            raise WeightsError(
                f"{path}: damaged or cut short ({reason}); save or fetch it again"
            ) from error
    return shapes


def shapes_of(model: "type[nn.Module]", config: object) -> Shapes:
    """Returns the shapes of a model's state, without creating it."""
    import torch

    with torch.device("meta"):
        state = model(config).state_dict()
    return {name: tuple(value.shape) for name, value in state.items()}


def check_fit(folder: Path, held: Mapping[str, tuple[int, ...]], wanted: Shapes) -> None:
    """Raises WeightsError naming the first tensor that is missing or of another shape."""
    for name, shape in wanted.items():
        if name not in held:
            raise WeightsError(
                f"{folder}: the weights have no {name}, which its config.json asks for; save or "
                "fetch the model again"
            )
        if held[name] != shape:
            raise WeightsError(
                f"{folder}: {name} is {held[name]}, and by its config.json {shape}; save or fetch "
                "the model again"
            )
