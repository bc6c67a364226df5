"""EnCodec in and out, at one bandwidth.

Défossez et al. 2022, "High Fidelity Neural Audio Compression", through transformers' EncodecModel.
The bandwidth is always explicit: transformers' own default is the lowest, the `encodec` package's
the highest.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import EncodecModel

from pixvox.codec.facts import codec_facts
from pixvox.codec.official import load_official
from pixvox.digests import WeightsError
from pixvox.errors import UnitsError
from pixvox.weights import file_of, resolve


@dataclass(frozen=True)
class Codec:
    """An EnCodec at a bandwidth in kbps, and the digest of its weights."""

    model: EncodecModel
    bandwidth: float
    digest: str

    @classmethod
    def load(cls, name: str, bandwidth: float) -> "Codec":
        """Loads `zoo:NAME`, a folder, a hub id or an official `.th` file.

        Raises WeightsError that says what to do, also for a bandwidth that the codec does not have.
        """
        fingerprint = codec_facts(name, bandwidth).digest
        if name.endswith(".th"):
            model = load_official(file_of(name))
        else:
            model = EncodecModel.from_pretrained(resolve(name), dtype=torch.float32).eval()
        if model.config.audio_channels != 1:
            raise WeightsError(f"{name} is not mono; use a mono EnCodec such as the 24 kHz one")
        return cls(model, bandwidth, fingerprint)

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return int(self.model.config.sampling_rate)

    @property
    def frame_rate(self) -> int:
        """Frames of units a second."""
        return int(self.model.config.frame_rate)

    @property
    def codebook_size(self) -> int:
        """How many units each codebook has."""
        return int(self.model.config.codebook_size)

    @cached_property
    def codebooks(self) -> int:
        """K at this bandwidth."""
        quantizer = self.model.quantizer
        return int(quantizer.get_num_quantizers_for_bandwidth(self.bandwidth))

    @torch.inference_mode()
    def encode(self, wave: npt.NDArray[np.float32]) -> Tensor:
        """Mono speech `[T]` at the codec's rate → units `[K, N]`, int64; raises UnitsError."""
        if wave.ndim != 1 or wave.size == 0:
            raise UnitsError(f"speech of shape {wave.shape}; the codec takes mono [T], T > 0")
        values = torch.from_numpy(np.ascontiguousarray(wave, dtype=np.float32))[None, None]
        encoded = self.model.encode(values, bandwidth=self.bandwidth)
        units: Tensor = encoded.audio_codes[0, 0]
        return units.clone()

    @torch.inference_mode()
    def decode(self, units: Tensor) -> npt.NDArray[np.float32]:
        """Units `[K, N]` → mono speech `[T]` at the codec's rate.

        Raises UnitsError for no frames, another K, or a unit out of the codebook's range.
        """
        if units.ndim != 2 or units.shape[0] != self.codebooks:
            raise UnitsError(
                f"units of shape {tuple(units.shape)}; this codec has {self.codebooks}"
            )
        if units.shape[1] == 0:
            raise UnitsError("no frames to decode")
        if int(units.min()) < 0 or int(units.max()) >= self.codebook_size:
            raise UnitsError(
                f"units from {int(units.min())} to {int(units.max())}; "
                f"this codec's run from 0 to {self.codebook_size - 1}"
            )
        codes = units.long()[None, None]
        wave: Tensor = self.model.decode(codes, [None]).audio_values[0, 0]
        return wave.numpy().copy()
