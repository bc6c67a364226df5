"""PixVoxProcessor: converts images to a model's input, and its units to speech."""

import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import BatchFeature, ProcessorMixin

from pixvox.codec.encodec import Codec
from pixvox.configfile import pixvox_config
from pixvox.configuration import PixVoxConfig
from pixvox.images import Picture, normalise, picture_pixels
from pixvox.vision import CLIP_MEAN, CLIP_STD, ImageScaling, triple

Wave = npt.NDArray[np.float32]


@lru_cache(maxsize=2)
def _codec(name: str, bandwidth: float) -> Codec:
    return Codec.load(name, bandwidth)


class PixVoxProcessor(ProcessorMixin):
    """Converts pictures to `pixel_values`, and units to waveforms by their codec.

    `codec` is a name for Codec.load, `bandwidth` is in kbps; the codec is loaded on first use.
    `image_size`, `image_mean` and `image_std` are the scaling for the image encoder
    (pixvox.vision.ImageScaling).
    """

    # Not keyword-only, because transformers passes values from a file by position.
    def __init__(  # noqa: PLR0917
        self,
        image_size: int,
        codec: str,
        bandwidth: float,
        image_mean: Sequence[float] = CLIP_MEAN,
        image_std: Sequence[float] = CLIP_STD,
    ) -> None:
        super().__init__()
        self.image_size, self.codec, self.bandwidth = image_size, codec, bandwidth
        self.image_mean, self.image_std = list(image_mean), list(image_std)

    @classmethod
    def of(cls, config: PixVoxConfig) -> Self:
        """Returns the processor for a model with this configuration."""
        scaling = config.scaling
        return cls(
            scaling.size,
            config.codec,
            config.bandwidth,
            image_mean=scaling.mean,
            image_std=scaling.std,
        )

    @property
    def scaling(self) -> ImageScaling:
        """The scaling for the image encoder; raises WeightsError for an invalid one."""
        return ImageScaling(
            self.image_size,
            triple(self.image_mean, "image_mean"),
            triple(self.image_std, "image_std"),
        )

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike[str], **options: Any) -> Self:
        """Loads a processor as transformers does; by default from the model's configuration."""
        folder = Path(name)
        if (folder / "config.json").exists() and not (folder / "processor_config.json").exists():
            return cls.of(pixvox_config(folder))
        return super().from_pretrained(name, **options)

    def __call__(self, images: "Picture | Sequence[Picture]", **unknown: Any) -> BatchFeature:
        """Converts pictures (paths, PIL images, arrays `[H, W, 3]` of uint8), or one, to
        `pixel_values`.

        They are `[B, 3, image_size, image_size]`, upright, normalised for the image encoder. Raises
        ImageError naming an invalid picture; TypeError for options other than
        `return_tensors="pt"`.
        """
        if unknown.get("return_tensors", "pt") != "pt" or unknown.keys() - {"return_tensors"}:
            raise TypeError(
                f"PixVoxProcessor does not take {', '.join(sorted(unknown))} so; give images alone"
            )
        several: list[Any] = (
            list(images)
            if isinstance(images, Sequence) and not isinstance(images, str)
            else [images]
        )
        scaling = self.scaling
        pixels = [normalise(picture_pixels(image, scaling.size), scaling) for image in several]
        if not pixels:
            raise ValueError("no images; give at least one")
        return BatchFeature({"pixel_values": torch.stack(pixels)})

    @property
    def model_input_names(self) -> list[str]:
        return ["pixel_values"]

    @property
    def sample_rate(self) -> int:
        """The rate of the waveforms in Hz."""
        return _codec(self.codec, self.bandwidth).sample_rate

    def encode(self, wave: Wave) -> Tensor:
        """Encodes mono speech `[T]` at `sample_rate` to units `[K, N]`, such as a prompt.

        Raises UnitsError for speech that is empty or not mono.
        """
        return _codec(self.codec, self.bandwidth).encode(wave)

    def decode(self, units: Tensor) -> Wave:
        """Decodes units `[K, N]` to a waveform `[T]` at `sample_rate`; raises UnitsError."""
        return _codec(self.codec, self.bandwidth).decode(units.cpu())

    def batch_decode(self, units: Tensor, lengths: Tensor | Sequence[int]) -> list[Wave]:
        """Decodes units `[B, K, N]` with these `lengths` in frames to waveforms, possibly empty."""
        nothing = np.zeros(0, np.float32)
        pairs = zip(units.cpu(), lengths, strict=True)
        coded = [units[:, : int(frames)] for units, frames in pairs]
        codec = _codec(self.codec, self.bandwidth)
        waves = iter(codec.decode_all([units for units in coded if units.shape[1]]))
        return [next(waves) if units.shape[1] else nothing for units in coded]
