"""Image files as PixVoxLM sees them: RGB, square, normalised as BLIP expects."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

_MEAN = torch.tensor((0.48145466, 0.4578275, 0.40821073))[:, None, None]
_STD = torch.tensor((0.26862954, 0.26130258, 0.27577711))[:, None, None]

MAX_PIXELS = 50_000_000
"""More than any photograph in use; a file that claims more is refused before it is unpacked."""


class ImageError(ValueError):
    """An image that cannot be used; the message names the file and the reason."""


def normalise(images: Tensor) -> Tensor:
    """uint8 images `[..., 3, H, W]` as BLIP's image processor scales them (CLIP's mean and std)."""
    return (images.float() / 255 - _MEAN) / _STD


def load_image(path: Path, size: int) -> Tensor:
    """An image file as BLIP sees it: `[3, size, size]`, normalised; raises ImageError."""
    return normalise(load_pixels(path, size))


def load_pixels(path: Path, size: int) -> Tensor:
    """An image file as uint8 `[3, size, size]`, upright, RGB, bicubic; raises ImageError."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise ImageError(f"{path.name}: {picture.width} x {picture.height} is too large")
            upright = ImageOps.exif_transpose(picture).convert("RGB")
    except FileNotFoundError as error:
        raise ImageError(f"{path.name}: no such image") from error
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError) as error:
        raise ImageError(
            f"{path.name}: not readable as an image ({type(error).__name__})"
        ) from error
    if upright.size != (size, size):
        upright = upright.resize((size, size), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(upright)).permute(2, 0, 1)
