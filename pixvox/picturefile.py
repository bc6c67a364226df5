"""Reads image files upright and in RGB, with a limit on pixels before decoding.

Models, trainings and pages read pictures only here. It imports no PyTorch.
"""

import warnings
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from pixvox.errors import PixVoxError
from pixvox.imagefaults import unreadable

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 50_000_000
"""More than any photograph has; a file with more is refused before it is decoded."""
_FILTERS = Lock()


class ImageError(PixVoxError, ValueError):
    """An image that cannot be used; the message names the file and the reason."""


def load_picture(path: Path) -> "Image.Image":
    """Returns an image file, upright and RGB; raises ImageError."""
    from PIL import Image

    try:
        with _opened(path) as picture:
            return upright(picture, path.name)
    except FileNotFoundError as error:
        raise ImageError(f"{path.name}: no such image") from error
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{path.name}: of more than {MAX_PIXELS:,} pixels, is too large"
        ) from error
    except Exception as error:
        # Decoders of damaged files raise any exception; each is reported as an error of this image.
        why = unreadable(path, error)
        raise ImageError(f"{path.name}: not readable as an image: {why}") from error


def _opened(path: Path) -> "Image.Image":
    """Returns an image file of which only the header is read, without Pillow's warning."""
    from PIL import Image

    # Filters belong to the process, and pages read pictures in several threads.
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(path)


def upright(picture: "Image.Image", name: str) -> "Image.Image":
    """Returns a picture upright and as RGB on white; raises ImageError with `name`."""
    from PIL import ImageOps

    if picture.width * picture.height > MAX_PIXELS:
        raise ImageError(f"{name}: {picture.width} x {picture.height} is too large")
    return _rgb(ImageOps.exif_transpose(picture), name)


def _rgb(picture: "Image.Image", name: str) -> "Image.Image":
    from PIL import Image

    if picture.mode.startswith("I"):
        # Pillow clips 16 bits at 255, which turns such a picture white.
        values = np.asarray(picture).astype(np.int64).clip(0, 65535)
        levels = np.where(values == picture.info.get("transparency"), 255, values // 257)
        return Image.fromarray(levels.astype(np.uint8)).convert("RGB")
    if picture.mode == "F":
        raise ImageError(f"{name}: has floating-point pixels; save it with 8 or 16 bits")
    if picture.has_transparency_data:
        # Transparent pixels are shown on white, as on a page, not in their hidden colour.
        solid = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", solid.size, "white"), solid).convert("RGB")
    return picture.convert("RGB")
