"""EnCodec through the `encodec` package: `encodec:24khz`, and the package's `.th` files.

Défossez et al. 2022, "High Fidelity Neural Audio Compression". The package is optional and needs
torchaudio for one class, `transforms.Resample`. If torchaudio cannot be imported, as beside a
CPU-only PyTorch, a class over soxr replaces it, but only while the package is imported:
transformers looks for torchaudio too, and must not find an incomplete module.
"""

import importlib
import importlib.util
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pixvox.digests import WeightsError, file_digest, load_pickle
from pixvox.weights import file_of, placed

if TYPE_CHECKING:
    from torch import Tensor

    from pixvox.codec.seanet import Seanet

PREFIX = "encodec:"
_CHECKPOINTS = {"24khz": "encodec_24khz-d7cc33bc.th"}
"""The package's mono models and the names of their checkpoints."""
_DIGEST = re.compile(r"-([0-9a-f]{8,})\.th$")
"""The end of a file's name from torch.hub: the first digits of its SHA-256."""
_IMPORTING = Lock()

INSTALL = "pip install --no-deps encodec einops"
"""Without its dependencies, because torchaudio would install a PyTorch for CUDA."""

BANDWIDTHS = (1.5, 3.0, 6.0, 12.0, 24.0)
FRAME_RATE = 75
CODEBOOK_BITS = 10
"""The 24 kHz model's bandwidths in kbps, frame rate in Hz, and bits a unit."""


def is_official(name: str) -> bool:
    """Returns whether a codec of this name is loaded through the package."""
    return name.startswith(PREFIX) or name.endswith(".th")


def checkpoint_of(name: str) -> Path:
    """Returns the checkpoint of `encodec:24khz`, or the `.th` file at a path.

    torch.hub downloads `encodec:24khz` into its own folder, where the package looks too. Raises
    WeightsError if the package is not installed, the file is missing or cannot be downloaded, or
    its bytes do not match the digest in its name.
    """
    if any(importlib.util.find_spec(package) is None for package in ("encodec", "einops")):
        raise WeightsError(f"{name}: needs the package encodec; run: {INSTALL}")
    there = placed(name)
    path = there or (_fetched(name) if name.startswith(PREFIX) else file_of(name))
    promised, digest = _DIGEST.search(path.name), file_digest(path)
    if promised and not digest.startswith(promised[1]):
        raise WeightsError(
            f"{path}: its SHA-256 begins with {digest[:8]}, not {promised[1]} as its name says; "
            "fetch it again"
        )
    return path


def _fetched(name: str) -> Path:
    model = name.removeprefix(PREFIX)
    if model not in _CHECKPOINTS:
        offered = ", ".join(PREFIX + other for other in _CHECKPOINTS)
        raise WeightsError(f"{name}: not a mono model of the package; choose {offered}")
    import torch

    path = Path(torch.hub.get_dir()) / "checkpoints" / _CHECKPOINTS[model]
    if path.is_file():
        return path
    url = import_package().model.ROOT_URL + path.name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        promised = _DIGEST.search(path.name)
        assert promised
        torch.hub.download_url_to_file(url, str(path), promised[1], progress=False)
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(
            f"{name}: {url} was not fetched ({reason}); fetch it yourself and name the file's path "
            f"as the codec, or put it at {path}"
        ) from error
    return path


@contextmanager
def _torchaudio() -> Iterator[None]:
    """Makes `import torchaudio` succeed, by torchaudio itself or by a replacement."""
    try:
        importlib.import_module("torchaudio")
    except Exception:  # A torchaudio built for another PyTorch raises any error of its loader.
        pass
    else:
        yield
        return
    # Not inside the `except`, where an error of the package would look like torchaudio's.
    before = {name: held for name, held in sys.modules.items() if _is_torchaudio(name)}
    transforms = ModuleType("torchaudio.transforms")
    package = ModuleType("torchaudio")
    package.transforms, transforms.Resample = transforms, Resample  # type: ignore[attr-defined]
    sys.modules |= {"torchaudio": package, "torchaudio.transforms": transforms}
    try:
        yield
    finally:
        for name in [name for name in sys.modules if _is_torchaudio(name)]:
            del sys.modules[name]
        sys.modules.update(before)


def _is_torchaudio(name: str) -> bool:
    return name.partition(".")[0] == "torchaudio"


class Resample:
    """The parts of torchaudio.transforms.Resample that the package uses, over soxr."""

    def __init__(self, orig_freq: int = 16_000, new_freq: int = 16_000) -> None:
        self.rates = orig_freq, new_freq

    def __call__(self, waveform: "Tensor") -> "Tensor":
        """Returns audio `[..., T]` at the second rate."""
        import numpy as np
        import soxr
        import torch

        if self.rates[0] == self.rates[1]:
            return waveform
        flat = waveform.detach().reshape(-1, waveform.shape[-1]).cpu().numpy()
        resampled = np.stack([soxr.resample(channel, *self.rates) for channel in flat])
        return torch.from_numpy(resampled).to(waveform).reshape(*waveform.shape[:-1], -1)


def import_package() -> Any:
    """Returns the `encodec` package; raises WeightsError if it cannot be imported."""
    # Imported before the replacement, so that it does not look for torchaudio meanwhile.
    import einops  # noqa: F401
    import torch  # noqa: F401

    with _IMPORTING:
        if "encodec" not in sys.modules:
            try:
                with _torchaudio():
                    importlib.import_module("encodec")
            except ImportError as error:
                raise WeightsError(
                    f"the package encodec does not import ({error}); run: {INSTALL}"
                ) from error
        return sys.modules["encodec"]


@dataclass(frozen=True)
class OfficialEngine:
    """The package's own model, with the methods of pixvox.codec.encodec.Engine."""

    model: Any

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> "OfficialEngine":
        """Returns the mono 24 kHz model with a checkpoint's weights, on a device.

        Raises WeightsError for a checkpoint that would run code, or of another model.
        """
        state = load_pickle(path)
        with warnings.catch_warnings():
            # The package uses PyTorch's older weight_norm, whose names are in its checkpoints.
            warnings.simplefilter("ignore", FutureWarning)
            model = import_package().EncodecModel.encodec_model_24khz(pretrained=False)
        own = model.state_dict()
        wrong = sorted(own.keys() ^ state.keys()) or [
            name for name in own if own[name].shape != state[name].shape
        ]
        if wrong:
            raise WeightsError(
                f"{path}: {wrong[0]} does not fit EnCodec's mono 24 kHz model; name that checkpoint"
            )
        model.load_state_dict(state)
        return cls(model.eval().to(device))

    @property
    def channels(self) -> int:
        return int(self.model.channels)

    @property
    def sample_rate(self) -> int:
        return int(self.model.sample_rate)

    @property
    def frame_rate(self) -> int:
        return int(self.model.frame_rate)

    @property
    def codebook_size(self) -> int:
        return int(self.model.quantizer.bins)

    def codebooks(self, bandwidth: float) -> int:
        # The package's method of that name takes what it calls a sample rate in frames.
        quantizer, frame_rate = self.model.quantizer, self.model.frame_rate
        return int(quantizer.get_num_quantizers_for_bandwidth(frame_rate, bandwidth))

    def first_codebook(self) -> "Tensor":
        vectors: Tensor = self.model.quantizer.vq.layers[0].codebook
        return vectors.detach()

    def encode(self, wave: "Tensor", bandwidth: float) -> "Tensor":
        self.model.set_target_bandwidth(bandwidth)
        units: Tensor = self.model.encode(wave)[0][0][0]
        return units

    def vectors(self, units: "Tensor") -> "Tensor":
        vectors: Tensor = self.model.quantizer.decode(units[:, None])[0]
        return vectors

    def decoder(self) -> "Seanet":
        from pixvox.codec.seanet import Seanet

        return Seanet(self.model.decoder.model)
