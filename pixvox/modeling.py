"""PixVoxLM as transformers' users expect a model: saved, loaded, and `generate`."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers.utils import ModelOutput

from pixvox.card import Counts, count, write_card
from pixvox.configuration import PixVoxConfig
from pixvox.decoding.engine import Engine
from pixvox.decoding.options import Numbers, decoding_of, prompts_of, whole
from pixvox.decoding.requests import Request
from pixvox.loading import without_bars
from pixvox.network import PixVoxNetwork
from pixvox.processing import PixVoxProcessor


@dataclass
class PixVoxGeneration(ModelOutput):
    """`units` `[B, K, N]`, prompts included, of `lengths` `[B]` frames, and which `ended` `[B]`.

    After its length a row holds the id that is no unit. What did not end reached the longest
    speech that was allowed.
    """

    units: Tensor = None  # type: ignore[assignment]
    lengths: Tensor = None  # type: ignore[assignment]
    ended: Tensor = None  # type: ignore[assignment]


class PixVoxLM(PixVoxNetwork):
    """Generates a spoken description of an image as EnCodec units, with no text in between."""

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike[str], *inputs: Any, **options: Any) -> Self:
        """As transformers does, in float32 unless `dtype` says otherwise, and without a bar."""
        if options.get("dtype") is None and options.get("torch_dtype") is None:
            options["dtype"] = torch.float32
        with without_bars():
            return super().from_pretrained(name, *inputs, **options)

    def save_pretrained(self, save_directory: str | os.PathLike[str], **options: Any) -> None:
        """As transformers does, and beside the weights the processor's file and a model card."""
        # By the names that the model itself has, by which weights are checked before they are
        # loaded; transformers would give some image encoders' the names of its older versions.
        options.setdefault("save_original_format", False)
        super().save_pretrained(save_directory, **options)
        PixVoxProcessor.of(self.config).save_pretrained(save_directory)
        write_card(self, save_directory)

    @torch.inference_mode()
    def generate(
        self,
        pixel_values: Tensor | None = None,
        *,
        prompt: Tensor | Sequence[Tensor | None] | None = None,
        max_new_tokens: int | None = None,
        max_seconds: float | None = None,
        do_sample: bool | None = None,
        temperature: Numbers | None = None,
        top_k: int | Sequence[int] | None = None,
        top_p: Numbers | None = None,
        guidance: Numbers | None = None,
        longest_run: int | None = None,
        candidates: int = 1,
        seed: int | None = None,
        generator: torch.Generator | None = None,
        items: Sequence[str] | None = None,
        slots: int = 32,
        **unknown: Any,
    ) -> PixVoxGeneration:
        """Units for images `[B, 3, H, W]` as PixVoxProcessor makes them.

        Greedy unless `do_sample` or a `temperature` asks for draws. `guidance` is the scale of
        classifier-free guidance, for models with a null image; it, `temperature`, `top_k` and
        `top_p` may be one number, or one for each codebook. After `longest_run` frames with
        the same unit in the first codebook the same unit again ends the speech; 0 or None: never.
        Of `candidates` draws the best is kept (pixvox.decoding.candidates). `max_new_tokens` counts
        frames after the prompt, one unit of every codebook each; `max_seconds` (6 if neither is
        given) bounds the speech, prompt included. `prompt` is units `[K, P]` for all, or `[K, P_i]`
        (or None) for each image. Each row draws from noise of its own, which `seed` (or one number
        of the `generator`) and its name in `items` (its index where there are none) decide,
        whatever else is in the batch; `slots` rows are decoded at once.

        Raises TypeError for an argument that it does not have, ValueError for one that does not
        fit; both say what to give instead.
        """
        if unknown:
            raise TypeError(
                f"generate() does not take {', '.join(sorted(unknown))}; it takes pixel_values, "
                "prompt, max_new_tokens or max_seconds, do_sample, temperature, top_k, top_p, "
                "guidance, longest_run, candidates, seed or generator, items and slots"
            )
        config, pixels = self.config, self._pixels(pixel_values)
        names = [str(row) for row in range(len(pixels))] if items is None else list(items)
        if len(names) != len(pixels):
            raise ValueError(f"items: {len(names)} names for {len(pixels)} images; give one each")
        prompts = prompts_of(prompt, len(pixels), config.num_codebooks, config.codebook_size)
        if max_new_tokens is not None:
            max_seconds = self._longest(max_new_tokens, max_seconds, prompts)
        how = decoding_of(
            config.num_codebooks,
            do_sample,
            temperature,
            top_k,
            top_p,
            guidance,
            longest_run,
            candidates,
            seed,
            generator,
            max_seconds,
            slots,
        )
        # One at a time, so that a state does not depend on which images share the batch.
        states = torch.cat([self.encode_images(one[None]) for one in pixels])
        asked = [
            Request(name, row, units)
            for row, (name, units) in enumerate(zip(names, prompts, strict=True))
        ]
        made = Engine(self, how).generate(states, asked)
        if broken := next((one for one in made if one.reason), None):
            raise ValueError(f"{broken.item}: {broken.reason}")
        rows = [one.units.T for one in made]
        return PixVoxGeneration(
            units=pad_sequence(rows, batch_first=True, padding_value=config.empty).transpose(1, 2),
            lengths=torch.tensor([len(row) for row in rows]),
            ended=torch.tensor([one.ended for one in made]),
        )

    def _longest(self, new: int, max_seconds: float | None, prompts: Sequence[Tensor]) -> float:
        """The seconds of prompt and `new` frames; ValueError where that is not one length."""
        frames = {prompt.shape[1] for prompt in prompts}
        if max_seconds is not None or len(frames) > 1:
            raise ValueError(
                "max_new_tokens goes with prompts of one length and without max_seconds; "
                "give max_seconds alone"
            )
        return (max(frames) + whole("max_new_tokens", new, least=1)) / self.config.frame_rate

    def _pixels(self, pixel_values: Tensor | None) -> Tensor:
        """The images on this model's device and in its type; raises ValueError or TypeError."""
        size = self.config.image_size
        wanted = f"images [B, 3, {size}, {size}] as PixVoxProcessor makes them"
        if not isinstance(pixel_values, Tensor):
            given = "nothing" if pixel_values is None else type(pixel_values).__name__
            raise TypeError(f"pixel_values: {given}; give {wanted}")
        if pixel_values.shape[1:] != (3, size, size) or not len(pixel_values):
            raise ValueError(f"pixel_values of shape {list(pixel_values.shape)}; give {wanted}")
        if not pixel_values.is_floating_point():
            raise ValueError(f"pixel_values of {pixel_values.dtype}, not normalised; give {wanted}")
        return pixel_values.to(self.device, self.dtype)


def count_config(config: PixVoxConfig) -> Counts:
    """Counts the parameters that a configuration would have, without making them."""
    with torch.device("meta"):
        return count(PixVoxLM(config))
