"""Converts options of transformers' `generate` to a Decoding; refuses contradictions."""

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor
from transformers import GenerationConfig

from pixvox.decoding.sampling import Decoding, Each, each

T = TypeVar("T", int, float)

Numbers: TypeAlias = float | Sequence[float]
"""One number for all codebooks, or one for each."""

_UNITS = "give units of the codec, whole numbers [K, P]; PixVoxProcessor.encode makes them"


def whole(name: str, value: Any, least: int) -> int:
    """Returns a whole number that is at least `least`; raises TypeError or ValueError."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name}: {value!r}; give a whole number")
    if value < least:
        raise ValueError(f"{name}: {value}; give at least {least}")
    return value


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name}: {value!r}; give a number")
    if not math.isfinite(value):
        raise ValueError(f"{name}: {value}; give a finite number")
    return float(value)


def _each(name: str, value: Any, codebooks: int, check: Callable[[str, Any], T]) -> "Each[T]":
    """Returns a number, or a list of one for each codebook; a single number if all are equal."""
    if not isinstance(value, list | tuple):
        return check(name, value)
    values = tuple(check(f"{name}[{q}]", part) for q, part in enumerate(value))
    if len(values) != codebooks:
        raise ValueError(
            f"{name}: {len(values)} values for {codebooks} codebooks; give one, or one for each"
        )
    return values[0] if len(set(values)) == 1 else values


def decoding_of(
    codebooks: int,
    do_sample: bool | None,
    temperature: Numbers | None,
    top_k: "int | Sequence[int] | None",
    *,
    top_p: Numbers | None,
    guidance: Numbers | None,
    longest_run: int | None,
    candidates: int,
    seed: int | None,
    generator: torch.Generator | None,
    max_seconds: float | None,
    slots: int,
) -> Decoding:
    """Returns the decoding that arguments of `generate` ask for; raises TypeError or ValueError."""
    if temperature is None:
        temperature = 1.0 if do_sample else 0.0
    heat = _each("temperature", temperature, codebooks, _number)
    draws = any(each(heat, codebooks))
    if do_sample is True and not draws:
        raise ValueError("temperature 0 is greedy; give a higher one, or leave do_sample out")
    drawn = {"temperature": draws, "top_k": top_k, "top_p": None if top_p == 1 else top_p}
    drawn["candidates"] = candidates if whole("candidates", candidates, least=1) > 1 else None
    if do_sample is False and (given := [name for name, value in drawn.items() if value]):
        raise ValueError(f"do_sample is False and {given[0]} is given; drop one of them")
    if not draws and (given := [name for name, value in drawn.items() if value]):
        raise ValueError(f"{given[0]} needs draws; give a temperature too, or do_sample=True")
    if seed is not None and generator is not None:
        raise ValueError("seed and generator are given; drop one of them")
    if generator is not None:
        seed = int(torch.randint(2**32, (), generator=generator, device=generator.device))
    return Decoding(
        temperature=heat,
        top_k=_each("top_k", top_k or 0, codebooks, lambda name, k: whole(name, k, least=0)),
        top_p=1.0 if top_p is None else _each("top_p", top_p, codebooks, _number),
        guidance=1.0 if guidance is None else _each("guidance", guidance, codebooks, _number),
        longest_run=whole("longest_run", longest_run or 0, least=0),
        candidates=candidates,
        seed=whole("seed", seed or 0, least=0),
        max_seconds=6.0 if max_seconds is None else _number("max_seconds", max_seconds),
        slots=whole("slots", slots, least=1),
    )


def options_of(config: GenerationConfig) -> dict[str, Any]:
    """Returns a transformers configuration's options for `generate`; raises ValueError."""
    known = ("do_sample", "temperature", "top_k", "top_p", "max_new_tokens")
    own = ("transformers_version", "_from_model_config")
    stated = {n: v for n, v in config.to_diff_dict().items() if v is not None and n not in own}
    if unknown := sorted(stated.keys() - set(known)):
        raise ValueError(
            f"generation_config: {', '.join(unknown)}; generate() takes {', '.join(known)} of it"
        )
    return stated


def prompts_of(
    prompt: Tensor | Sequence[Tensor | None] | None, rows: int, codebooks: int, codebook_size: int
) -> list[Tensor]:
    """Returns a prompt `[K, P]` for every row (P may be 0); raises TypeError or ValueError."""
    none = torch.zeros(codebooks, 0, dtype=torch.long)
    if prompt is None or (isinstance(prompt, Tensor) and prompt.ndim == 2):
        given: list[Tensor | None] = [prompt] * rows
    elif isinstance(prompt, Tensor | list | tuple):
        given = list(prompt)
    else:
        raise TypeError(f"prompt: a {type(prompt).__name__}; {_UNITS}")
    if len(given) != rows:
        raise ValueError(f"prompt: {len(given)} of them for {rows} images; give one for each")
    prompts = [none if row_prompt is None else row_prompt for row_prompt in given]
    for row_prompt in prompts:
        if not isinstance(row_prompt, Tensor) or row_prompt.is_floating_point():
            raise TypeError(f"prompt: {_UNITS}")
        if row_prompt.ndim != 2 or row_prompt.shape[0] != codebooks:
            raise ValueError(
                f"a prompt of shape {list(row_prompt.shape)}; give units [{codebooks}, P]"
            )
        if (
            row_prompt.numel()
            and not 0 <= int(row_prompt.min()) <= int(row_prompt.max()) < codebook_size
        ):
            raise ValueError(f"a prompt has units outside 0 to {codebook_size - 1}")
    return [row_prompt.cpu().long() for row_prompt in prompts]
