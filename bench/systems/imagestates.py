"""Mean states of images by a frozen image encoder, computed once and cached by content."""

import hashlib
import io
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from bench.common.atomic import write_bytes
from bench.common.errors import UserError
from bench.common.plugins import identity
from bench.common.progress import Progress
from bench.datasets.unitcache import content_keys
from pixvox.configfile import pixvox_config, read_config
from pixvox.digests import digest
from pixvox.plugins import IMAGE_ENCODERS, plugins
from pixvox.weights import resolve

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pixvox.vision import ImageScaling

States = npt.NDArray[np.float32]
_CODE = 1
"""Raise it when the code computes other states for the same image and weights."""
_SAVE_EVERY = 500
"""Images between two writes of the cache."""


class ImageEncoder(Protocol):
    """A frozen image encoder on a device."""

    def mean_state(self, image: Path) -> States:
        """Returns the mean of an image's states, `[D]`; raises ImageError."""


def encoder_digest(name: str) -> str:
    """Returns the digest of an image encoder's weights and scaling, 16 hex digits.

    Raises WeightsError.
    """
    folder = resolve(name)
    scaling = _scaling(folder)
    return hashlib.sha256(f"{digest(folder)} {scaling}".encode()).hexdigest()[:16]


def encoder_plugins(name: str) -> tuple[str, ...]:
    """The plug-in whose image encoder weights are of, where it is none of the suite's.

    `name` is that of an image encoder, or of a PixVoxLM that has one. Raises WeightsError.
    """
    if not plugins(IMAGE_ENCODERS):
        return ()
    config = read_config(resolve(name))
    if config.get("model_type") == "pixvox":
        config = config.get("vision_config") or {}
    return tuple(filter(None, [identity(IMAGE_ENCODERS, str(config.get("model_type", "")))]))


def _is_pixvox(folder: Path) -> bool:
    return read_config(folder).get("model_type") == "pixvox"


def _scaling(folder: Path) -> "ImageScaling":
    from pixvox.vision import scaling_of

    return pixvox_config(folder).scaling if _is_pixvox(folder) else scaling_of(folder)


def load_encoder(name: str, device: str) -> ImageEncoder:
    """Returns the image encoder `name`, or that of the PixVoxLM `name`, on a device.

    Raises WeightsError if it cannot be loaded.
    """
    import torch

    from pixvox.modeling import PixVoxLM
    from pixvox.vision import load_vision

    folder = resolve(name)
    if _is_pixvox(folder):
        model = PixVoxLM.from_pretrained(folder, dtype=torch.float32).vision.eval()
    else:
        model = load_vision(folder)
    return _Encoder(model.to(device), _scaling(folder))


class _Encoder(ImageEncoder):
    def __init__(self, model: "PreTrainedModel", scaling: "ImageScaling") -> None:
        self.model = model
        self.scaling = scaling

    def mean_state(self, image: Path) -> States:
        import torch

        from pixvox.images import load_image
        from pixvox.precision import precision
        from pixvox.vision import image_states

        # One image at a time, so that its state does not depend on others in a batch.
        pixels = load_image(image, self.scaling)[None].to(self.model.device)
        with torch.inference_mode(), precision("float32"):
            mean = image_states(self.model, pixels)[0].float().mean(0)
        return np.asarray(mean.cpu().numpy())


def mean_states(
    images: Sequence[Path],
    encoder: str,
    load: Callable[[], ImageEncoder],
    folder: Path,
    *,
    report: Progress,
) -> States:
    """Returns the mean states of image files, `[I, D]`; those missing in `folder` are computed.

    `encoder` is the digest of what `load` loads, which is called only if a state is missing. Raises
    UserError with the name of an image that cannot be read.
    """
    from pixvox.images import ImageError

    file = folder / f"means-{encoder}.npz"
    known = _read(file)
    keys = content_keys(images)
    missing = {key: path for key, path in zip(keys, images, strict=True) if key not in known}
    model = load() if missing else None
    try:
        for number, (key, path) in enumerate(missing.items(), 1):
            assert model is not None
            try:
                known[key] = model.mean_state(path)
            except ImageError as error:
                raise UserError(f"{path}: {error}; fix or remove it") from error
            report("states", number, len(missing))
            if number % _SAVE_EVERY == 0:
                _write(file, known)
    finally:
        # States computed before an interruption are saved.
        if missing and known:
            _write(file, known)
    return np.stack([known[key] for key in keys])


def _read(file: Path) -> dict[str, States]:
    """Returns a cache's states by content key; empty if it is damaged or of other code."""
    try:
        with np.load(file, allow_pickle=False) as archive:
            # The first caches do not name the version of their code.
            if (int(archive["code"]) if "code" in archive else 1) != _CODE:
                return {}
            keys, states = archive["keys"], archive["states"]
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        return {}
    return dict(zip(keys.tolist(), states, strict=True))


def _write(file: Path, known: dict[str, States]) -> None:
    buffer = io.BytesIO()
    states = np.stack(list(known.values()))
    np.savez(buffer, keys=np.array(list(known)), states=states, code=np.array(_CODE))
    write_bytes(file, buffer.getvalue())
