"""Image files as PixVoxLM sees them: RGB, square, normalised as its image encoder expects."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pixvox.errors import PixVoxError
from pixvox.imagefaults import unreadable
from pixvox.vision import ImageScaling

if TYPE_CHECKING:
    from PIL import Image

Picture: TypeAlias = "str | os.PathLike[str] | Image.Image | npt.NDArray[Any]"
"""What a picture may be given as: a file, a PIL image, or an array of uint8 [H, W, 3]."""

MAX_PIXELS = 50_000_000
"""More than any photograph in use; a file that claims more is refused before it is unpacked."""


class ImageError(PixVoxError, ValueError):
    """An image that cannot be used; the message names the file and the reason."""


def normalise(images: Tensor, scaling: ImageScaling) -> Tensor:
    """uint8 images `[..., 3, H, W]` as an image encoder expects them, float32."""
    mean = torch.tensor(scaling.mean, device=images.device)[:, None, None]
    deviation = torch.tensor(scaling.std, device=images.device)[:, None, None]
    return (images.float() / 255 - mean) / deviation


def load_image(path: Path, scaling: ImageScaling) -> Tensor:
    """An image file as an image encoder expects it: `[3, size, size]`; raises ImageError."""
    return normalise(load_pixels(path, scaling.size), scaling)


def picture_pixels(picture: Picture, size: int) -> Tensor:
    """A picture as uint8 `[3, size, size]`, as `load_pixels` would load it; raises ImageError."""
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
    return _square(_upright(picture, "the picture"), size)


def load_pixels(path: Path, size: int) -> Tensor:
    """An image file as uint8 `[3, size, size]`, upright, RGB, bicubic; raises ImageError."""
    return _square(load_picture(path), size)


def load_picture(path: Path) -> "Image.Image":
    """An image file, upright and RGB; raises ImageError."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return _upright(picture, path.name)
    except FileNotFoundError as error:
        raise ImageError(f"{path.name}: no such image") from error
    except ImageError:
        raise
    except Exception as error:
        # Decoders of damaged files raise whatever they stumble over; all of it is this image's.
        why = unreadable(path, error)
        raise ImageError(f"{path.name}: not readable as an image: {why}") from error


def _square(upright: "Image.Image", size: int) -> Tensor:
    from PIL import Image

    if upright.size != (size, size):
        upright = upright.resize((size, size), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(upright)).permute(2, 0, 1)


def _upright(picture: "Image.Image", name: str) -> "Image.Image":
    from PIL import ImageOps

    if picture.width * picture.height > MAX_PIXELS:
        raise ImageError(f"{name}: {picture.width} x {picture.height} is too large")
    return _rgb(ImageOps.exif_transpose(picture), name)


def _rgb(picture: "Image.Image", name: str) -> "Image.Image":
    from PIL import Image

    if picture.mode.startswith("I"):
        # Pillow cuts 16 bits off at 255, which turns such a picture white.
        levels = np.asarray(picture).astype(np.int64).clip(0, 65535) // 257
        return Image.fromarray(levels.astype(np.uint8)).convert("RGB")
    if picture.mode == "F":
        raise ImageError(f"{name}: has floating-point pixels; save it with 8 or 16 bits")
    if picture.mode in ("LA", "PA", "RGBA") or "transparency" in picture.info:
        # What is transparent is shown on white, as a page would, not in its hidden colour.
        solid = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", solid.size, "white"), solid).convert("RGB")
    return picture.convert("RGB")
