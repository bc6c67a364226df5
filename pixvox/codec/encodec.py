"""EnCodec at one bandwidth: encodes clips one at a time, and decodes several together.

Défossez et al. 2022, "High Fidelity Neural Audio Compression". A folder, a hub id or `zoo:NAME` is
loaded as transformers' EncodecModel, `encodec:24khz` or a `.th` file through the `encodec` package.
The bandwidth is always explicit: transformers' default is the lowest, the package's the highest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import EncodecConfig, EncodecModel

from pixvox.codec.facts import codec_facts
from pixvox.codec.official import OfficialEngine, checkpoint_of, is_official
from pixvox.codec.seanet import GROUP, Seanet
from pixvox.digests import WeightsError
from pixvox.errors import UnitsError
from pixvox.loading import without_bars
from pixvox.precision import precision
from pixvox.weights import resolve

Wave = npt.NDArray[np.float32]


class Engine(Protocol):
    """The interface between Codec and an implementation of EnCodec."""

    @property
    def channels(self) -> int:
        """Channels of the audio."""

    @property
    def sample_rate(self) -> int:
        """Hz."""

    @property
    def frame_rate(self) -> int:
        """Frames of units a second."""

    @property
    def codebook_size(self) -> int:
        """The number of units in each codebook."""

    def codebooks(self, bandwidth: float) -> int:
        """Returns K at a bandwidth in kbps."""

    def first_codebook(self) -> Tensor:
        """Returns the vectors of the first codebook's units, `[V, D]`."""

    def encode(self, wave: Tensor, bandwidth: float) -> Tensor:
        """Encodes audio `[1, 1, T]` to units `[K, N]`."""

    def vectors(self, units: Tensor) -> Tensor:
        """Returns the decoder's input `[D, N]` for units `[K, N]`."""

    def decoder(self) -> Seanet:
        """Returns the decoder, which maps that input to audio `[1, T]`."""


@dataclass(frozen=True)
class TransformersEngine(Engine):
    """transformers' EncodecModel as an Engine."""

    model: EncodecModel

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> "TransformersEngine":
        """Returns the model of a folder of weights, in float32, on a device."""
        with without_bars():
            model = EncodecModel.from_pretrained(folder, dtype=torch.float32).eval()
        return cls(model.to(device))

    def __reduce__(self) -> tuple[Any, ...]:
        # PyTorch cannot pickle a model with weight normalisation, only its weights.
        return _with_weights, (self.model.config, self.model.state_dict())

    @property
    def channels(self) -> int:
        return int(self.model.config.audio_channels)

    @property
    def sample_rate(self) -> int:
        return int(self.model.config.sampling_rate)

    @property
    def frame_rate(self) -> int:
        return int(self.model.config.frame_rate)

    @property
    def codebook_size(self) -> int:
        return int(self.model.config.codebook_size)

    def codebooks(self, bandwidth: float) -> int:
        return int(self.model.quantizer.get_num_quantizers_for_bandwidth(bandwidth))

    def first_codebook(self) -> Tensor:
        vectors: Tensor = self.model.quantizer.layers[0].codebook.embed
        return vectors.detach()

    def encode(self, wave: Tensor, bandwidth: float) -> Tensor:
        units: Tensor = self.model.encode(wave, bandwidth=bandwidth).audio_codes[0, 0]
        return units

    def vectors(self, units: Tensor) -> Tensor:
        vectors: Tensor = self.model.quantizer.decode(units[:, None])[0]
        return vectors

    def decoder(self) -> Seanet:
        return Seanet(self.model.decoder.layers)


def _with_weights(config: EncodecConfig, weights: dict[str, Tensor]) -> TransformersEngine:
    model = EncodecModel(config).eval()
    model.load_state_dict(weights)
    return TransformersEngine(model.to(next(iter(weights.values())).device))


@dataclass(frozen=True, kw_only=True)
class Codec:
    """An EnCodec at a bandwidth in kbps, with the digest of its weights.

    The speech of units does not depend on the other clips of a batch (pixvox.codec.seanet).
    """

    engine: Engine
    bandwidth: float
    digest: str
    device: str
    decoder: Seanet

    @classmethod
    def load(cls, name: str, bandwidth: float, device: str = "cpu") -> "Codec":
        """Loads `zoo:NAME`, a folder, a hub id, `encodec:24khz` or a `.th` file of the package.

        Raises WeightsError, with the fix, also for a bandwidth that the codec does not have.
        """
        digest = codec_facts(name, bandwidth).digest
        engine: Engine
        if is_official(name):
            engine = OfficialEngine.load(checkpoint_of(name), device)
        else:
            engine = TransformersEngine.load(resolve(name), device)
        if engine.channels != 1:
            raise WeightsError(f"{name} is not mono; use a mono EnCodec such as the 24 kHz one")
        return cls(
            engine=engine,
            bandwidth=bandwidth,
            digest=digest,
            device=device,
            decoder=engine.decoder(),
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _with_decoder, (self.engine, self.bandwidth, self.digest, self.device)

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self.engine.sample_rate

    @property
    def frame_rate(self) -> int:
        """Frames of units a second."""
        return self.engine.frame_rate

    @property
    def codebook_size(self) -> int:
        """The number of units in each codebook."""
        return self.engine.codebook_size

    @cached_property
    def codebooks(self) -> int:
        """K at this bandwidth."""
        return self.engine.codebooks(self.bandwidth)

    @torch.inference_mode()
    def encode(self, wave: Wave) -> Tensor:
        """Encodes mono speech `[T]` at the codec's rate to units `[K, N]`, int64; raises
        UnitsError.

        Clips are encoded alone: a difference of 1e-7 in a sum can choose another unit.
        """
        if wave.ndim != 1 or wave.size == 0:
            raise UnitsError(f"speech of shape {wave.shape}; the codec takes mono [T], T > 0")
        values = torch.from_numpy(np.ascontiguousarray(wave, dtype=np.float32))[None, None]
        with precision("float32"):
            return self.engine.encode(values.to(self.device), self.bandwidth).cpu().clone()

    def decode(self, units: Tensor) -> Wave:
        """Decodes units `[K, N]` to mono speech `[T]` at the codec's rate; raises as `check`."""
        return self.decode_all([units])[0]

    @torch.inference_mode()
    def decode_all(self, units: Sequence[Tensor]) -> list[Wave]:
        """Returns the result of `decode` for each speech's units, computed together."""
        for speech in units:
            self.check(speech)
        waves: list[Wave] = []
        with precision("float32"):
            for start in range(0, len(units), GROUP):
                group = [speech.long().to(self.device) for speech in units[start : start + GROUP]]
                sound = self.decoder([self.engine.vectors(speech) for speech in group])
                waves += [clip[0].cpu().numpy().copy() for clip in sound]
        return waves

    def check(self, units: Tensor) -> None:
        """Raises UnitsError for no frames, another K, or a unit out of the codebook's range."""
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


def _with_decoder(engine: Engine, bandwidth: float, digest: str, device: str) -> Codec:
    return Codec(
        engine=engine, bandwidth=bandwidth, digest=digest, device=device, decoder=engine.decoder()
    )
