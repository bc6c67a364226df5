"""Image states of several pictures, each independent of the others."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pixvox.images import ImageError, load_image
from pixvox.precision import precision
from pixvox.vision import ImageScaling

GROUP = 16
"""Pictures that a GPU encodes together; a CPU encodes one at a time, which is as fast there."""
_THREADS = 4
"""Files that are decoded at once beside a GPU; Pillow and NumPy release Python's lock meanwhile."""


def load_images(
    files: Sequence[Path], scaling: ImageScaling, device: torch.device
) -> list[Tensor | ImageError]:
    """Returns every file as the image encoder's input, `[3, size, size]`, or its error."""

    def load(file: Path) -> Tensor | ImageError:
        try:
            return load_image(file, scaling)
        except ImageError as error:
            return error

    if device.type != "cuda" or len(files) < 2:
        return [load(file) for file in files]
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(load, files))


@torch.inference_mode()
def encode_in_groups(
    encode: Callable[[Tensor], Tensor],
    images: Sequence[Tensor],
    device: torch.device,
    *,
    arithmetic: str,
    group: int | None = None,
) -> Tensor:
    """Returns states `[I, P, M]` of images `[3, size, size]`, encoded in groups of one padded size.

    So a state does not depend on how many images there are. `arithmetic` is what the image encoder
    computes in: its own type for float32, bfloat16 for the operations that PyTorch's autocast has.
    The states are float32 then too: some image encoders end with such an operation, and what reads
    states has weights in float32.
    """
    size = group or (GROUP if device.type == "cuda" else 1)
    states: list[Tensor] = []
    with precision(arithmetic), _cast(device, arithmetic):
        for start in range(0, len(images), size):
            members = list(images[start : start + size])
            filled = torch.stack(members + members[:1] * (size - len(members)))
            of_group = encode(filled.to(device))[: len(members)]
            states.append(of_group if arithmetic == "float32" else of_group.float())
    return torch.cat(states)


def _cast(device: torch.device, arithmetic: str) -> AbstractContextManager[Any]:
    if arithmetic == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)
