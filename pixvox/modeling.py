"""PixVoxLM as a transformers model: `from_pretrained`, `save_pretrained` and `generate`."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import GenerationConfig
from transformers.utils import ModelOutput

from pixvox.card import Counts, count, write_card
from pixvox.configuration import PixVoxConfig
from pixvox.decoding.engine import Engine
from pixvox.decoding.options import Numbers, decoding_of, options_of, prompts_of, whole
from pixvox.decoding.requests import Request
from pixvox.decoding.sampling import Decoding
from pixvox.imagegroups import encode_in_groups
from pixvox.loading import without_bars
from pixvox.network import PixVoxNetwork
from pixvox.processing import PixVoxProcessor


@dataclass
class PixVoxGeneration(ModelOutput):
    """`units` `[B, K, N]`, prompts included, their `lengths` `[B]` in frames, and `ended` `[B]`.

    After its length a row has the id of "no unit". A row that did not end has the maximum length.
    """

    units: Tensor = None  # type: ignore[assignment]
    lengths: Tensor = None  # type: ignore[assignment]
    ended: Tensor = None  # type: ignore[assignment]


class PixVoxLM(PixVoxNetwork):
    """Generates a spoken description of an image as EnCodec units, with no text in between."""

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike[str], *inputs: Any, **options: Any) -> Self:
        """Loads a model as transformers does, in float32 unless `dtype` is given, without a
        progress bar.

        Raises ValueError for a `device_map` that spreads the model over several devices.
        """
        _check_device_map(options.get("device_map"))
        if options.get("dtype") is None and options.get("torch_dtype") is None:
            options["dtype"] = torch.float32
        with without_bars():
            return super().from_pretrained(name, *inputs, **options)

    def save_pretrained(self, save_directory: str | os.PathLike[str], **options: Any) -> None:
        """Saves a model as transformers does, with the processor's file and a model card."""
        # With the model's own names, which are checked before weights are loaded; transformers
        # would save some image encoders under the names of its older versions.
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
        generation_config: GenerationConfig | None = None,
        **unknown: Any,
    ) -> PixVoxGeneration:
        """Generates units for images `[B, 3, H, W]` from PixVoxProcessor.

        Decoding is greedy unless `do_sample` or a `temperature` is given. `guidance` is the scale
        of classifier-free guidance, for models with a null image; it, `temperature`, `top_k` and
        `top_p` may be one number, or one for each codebook. After `longest_run` frames with the
        same unit in the first codebook, the same unit again ends the speech; 0 or None: never. Of
        `candidates` draws the best is chosen (pixvox.decoding.candidates). `max_new_tokens` counts
        frames after the prompt, each with a unit of every codebook; `max_seconds` (6 if neither is
        given) is the longest speech, including the prompt. `prompt` is units `[K, P]` for all
        images, or `[K, P_i]` (or None) for each. Each row draws from its own noise, which depends
        only on `seed` (or one number of the `generator`) and its name in `items` (by default its
        index), not on the batch; `slots` rows are decoded at once. A `generation_config` may have
        do_sample, temperature, top_k, top_p and max_new_tokens.

        Raises TypeError for an unknown argument, ValueError for an invalid one; both say what to
        give instead. The result is on the model's device.
        """
        if generation_config is not None:
            stated = options_of(generation_config)
            given = {"do_sample": do_sample, "temperature": temperature, "top_k": top_k}
            given |= {"top_p": top_p, "max_new_tokens": max_new_tokens}
            # Arguments take precedence over a configuration, as in transformers.
            stated |= {name: value for name, value in given.items() if value is not None}
            do_sample, temperature = stated.get("do_sample"), stated.get("temperature")
            top_k, top_p = stated.get("top_k"), stated.get("top_p")
            max_new_tokens = stated.get("max_new_tokens")
        if unknown:
            raise TypeError(
                f"generate() does not take {', '.join(sorted(unknown))}; it takes pixel_values, "
                "prompt, max_new_tokens or max_seconds, do_sample, temperature, top_k, top_p, "
                "guidance, longest_run, candidates, seed or generator, items, slots and "
                "generation_config"
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
            top_p=top_p,
            guidance=guidance,
            longest_run=longest_run,
            candidates=candidates,
            seed=seed,
            generator=generator,
            max_seconds=max_seconds,
            slots=slots,
        )
        # On a GPU bfloat16 models are decoded in bfloat16; all others, and all on a CPU, in
        # float32.
        halved = self.dtype == torch.bfloat16 and self.device.type == "cuda"
        how = replace(how, arithmetic="bfloat16" if halved else "float32")
        states = encode_in_groups(
            self.encode_images, list(pixels), self.device, arithmetic="float32"
        )
        asked = [
            Request(item=name, image=row, prompt=units, seed=how.seed)
            for row, (name, units) in enumerate(zip(names, prompts, strict=True))
        ]
        speeches = self._engine(how).generate(states, asked)
        if broken := next((speech for speech in speeches if speech.reason), None):
            raise ValueError(f"{broken.item}: {broken.reason}")
        rows = [speech.units.T for speech in speeches]
        units = pad_sequence(rows, batch_first=True, padding_value=config.empty).transpose(1, 2)
        return PixVoxGeneration(
            units=units.to(self.device),
            lengths=torch.tensor([len(row) for row in rows], device=self.device),
            ended=torch.tensor([speech.ended for speech in speeches], device=self.device),
        )

    def _engine(self, decoding: Decoding) -> Engine:
        """Returns the last call's engine if it decodes in the same way, so that graphs are captured
        once.

        Requests have their own seeds. Only one engine is cached, because its buffers are large.
        """
        decoding = replace(decoding, seed=0)
        latest: Engine | None = self.__dict__.get("_latest_engine")
        if latest is None or (latest.decoding, latest.device) != (decoding, self.device):
            # Frees the old engine's memory before the new one is created.
            self.__dict__["_latest_engine"] = latest = None
            latest = Engine(self, decoding)
            self.__dict__["_latest_engine"] = latest
        return latest

    def train(self, mode: bool = True) -> Self:
        """Sets training mode as any module; also frees the memory that `generate` caches."""
        if mode:
            self.__dict__.pop("_latest_engine", None)
        return super().train(mode)

    def __getstate__(self) -> dict[str, Any]:
        # CUDA graphs can be neither copied nor pickled.
        return {name: value for name, value in self.__dict__.items() if name != "_latest_engine"}

    def _longest(self, new: int, max_seconds: float | None, prompts: Sequence[Tensor]) -> float:
        """Returns the seconds of a prompt and `new` frames; raises ValueError for several
        lengths."""
        frames = {prompt.shape[1] for prompt in prompts}
        if max_seconds is not None or len(frames) > 1:
            raise ValueError(
                "max_new_tokens goes with prompts of one length and without max_seconds; "
                "give max_seconds alone"
            )
        return (max(frames) + whole("max_new_tokens", new, least=1)) / self.config.frame_rate

    def _pixels(self, pixel_values: Tensor | None) -> Tensor:
        """Returns the images with this model's device and type; raises ValueError or TypeError."""
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


def _check_device_map(device_map: Any) -> None:
    """Raises ValueError for a model on several devices: decoding needs it on one."""
    spread = isinstance(device_map, str) and device_map in _SPREADING
    several = isinstance(device_map, dict) and len(set(device_map.values())) > 1
    if several or (spread and torch.cuda.device_count() > 1):
        raise ValueError(
            f"device_map={device_map!r} spreads the model over several devices, and it has to lie "
            "on one; give device_map='cuda:0'"
        )


_SPREADING = ("auto", "balanced", "balanced_low_0", "sequential")
"""The device maps of transformers that use every GPU."""


def count_config(config: PixVoxConfig) -> Counts:
    """Counts the parameters of a configuration without creating the model."""
    with torch.device("meta"):
        return count(PixVoxLM(config))
