"""PixVoxProcessor: images in, speech out; what lies between them is the model's."""

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
    """Pictures as `pixel_values`, and units as waveforms through the codec that they belong to.

    `codec` is a name that Codec.load takes, `bandwidth` in kbps; it is loaded when it is first
    asked for. `image_size`, `image_mean` and `image_std` are what the image encoder expects of
    pictures (pixvox.vision.ImageScaling).
    """

    # Not keyword-only: transformers gives back from a file what can be given by position.
    def __init__(
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
        """Returns the processor of a model that is made so."""
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
        """What the image encoder expects of pictures; raises WeightsError for what is none."""
        return ImageScaling(
            self.image_size,
            triple(self.image_mean, "image_mean"),
            triple(self.image_std, "image_std"),
        )

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike[str], **options: Any) -> Self:
        """As transformers does; weights without a processor's file have its content elsewhere."""
        folder = Path(name)
        if (folder / "config.json").exists() and not (folder / "processor_config.json").exists():
            return cls.of(pixvox_config(folder))
        return super().from_pretrained(name, **options)

    def __call__(self, images: "Picture | Sequence[Picture]", **unknown: Any) -> BatchFeature:
        """Pictures (paths, PIL images, arrays `[H, W, 3]` of uint8), or one, as `pixel_values`.

        `[B, 3, image_size, image_size]`, upright, normalised as the image encoder expects.
        Raises ImageError naming the one that cannot be used; TypeError for more than
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
        """That of the waveforms, in Hz."""
        return _codec(self.codec, self.bandwidth).sample_rate

    def encode(self, wave: Wave) -> Tensor:
        """Mono speech `[T]` at `sample_rate` as units `[K, N]`, such as a prompt.

        Raises UnitsError for speech that is not mono, or empty.
        """
        return _codec(self.codec, self.bandwidth).encode(wave)

    def decode(self, units: Tensor) -> Wave:
        """Units `[K, N]` as a waveform `[T]` at `sample_rate`; raises UnitsError."""
        return _codec(self.codec, self.bandwidth).decode(units.cpu())

    def batch_decode(self, units: Tensor, lengths: Tensor | Sequence[int]) -> list[Wave]:
        """Units `[B, K, N]` of so many frames each as waveforms; of no frames, an empty one."""
        nothing = np.zeros(0, np.float32)
        pairs = zip(units.cpu(), lengths, strict=True)
        coded = [units[:, : int(frames)] for units, frames in pairs]
        codec = _codec(self.codec, self.bandwidth)
        waves = iter(codec.decode_all([units for units in coded if units.shape[1]]))
        return [next(waves) if units.shape[1] else nothing for units in coded]
