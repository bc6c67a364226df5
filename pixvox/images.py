"""Image files as PixVoxLM's input: RGB, square, normalised for its image encoder."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pixvox.picturefile import ImageError as ImageError
from pixvox.picturefile import load_picture as load_picture
from pixvox.picturefile import upright
from pixvox.vision import ImageScaling

if TYPE_CHECKING:
    from PIL import Image

Picture: TypeAlias = "str | os.PathLike[str] | Image.Image | npt.NDArray[Any]"
"""A picture as a file, a PIL image, or an array of uint8 [H, W, 3]."""


def normalise(images: Tensor, scaling: ImageScaling) -> Tensor:
    """Returns uint8 images `[..., 3, H, W]` normalised for an image encoder, float32."""
    mean = torch.tensor(scaling.mean, device=images.device)[:, None, None]
    deviation = torch.tensor(scaling.std, device=images.device)[:, None, None]
    return (images.float() / 255 - mean) / deviation


def load_image(path: Path, scaling: ImageScaling) -> Tensor:
    """Returns an image file as an image encoder's input, `[3, size, size]`; raises ImageError."""
    return normalise(load_pixels(path, scaling.size), scaling)


def picture_pixels(picture: Picture, size: int) -> Tensor:
    """Returns a picture as uint8 `[3, size, size]`, as `load_pixels` does; raises ImageError."""
    from PIL import Image

    if isinstance(picture, str | os.PathLike):
        return load_pixels(Path(picture), size)
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] not in (3, 4):
            raise ImageError(
                f"an array of {picture.dtype} {list(picture.shape)}; give uint8 [H, W, 3]"
            )
        if not picture.size:
            raise ImageError(f"an array {list(picture.shape)} is no picture; give uint8 [H, W, 3]")
        picture = Image.fromarray(picture)
    if not isinstance(picture, Image.Image):
        raise ImageError(
            f"a {type(picture).__name__} is no picture; give a path, a PIL image or an array"
        )
    return _square(upright(picture, "the picture"), size)


def load_pixels(path: Path, size: int) -> Tensor:
    """Returns an image file as uint8 `[3, size, size]`, upright, RGB; raises ImageError."""
    return _square(load_picture(path), size)


def _square(picture: "Image.Image", size: int) -> Tensor:
    from PIL import Image

    if picture.size != (size, size):
        picture = picture.resize((size, size), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)
