"""How PixVoxLM's units are chosen: what a job says of it."""

from collections.abc import Mapping
from typing import Any, Literal

import polars as pl
from pydantic import model_validator

from bench.common.bounds import (
    Candidates,
    Guidance,
    Numbers,
    Run,
    Seed,
    Slots,
    SpeechSeconds,
    Temperatures,
    TopPs,
)
from bench.common.validation import keys_error
from bench.common.yamlfile import Strict
from bench.systems.axes import SEED, Axis

AXES = (
    SEED,
    Axis(
        name="temperature",
        type=Temperatures,
        column=pl.Float64,
        meaning="The temperature of decoding; 0 is greedy.",
    ),
    Axis(
        name="top_k",
        type=Numbers,
        column=pl.Int64,
        meaning="From how many of the likeliest units is drawn; 0 for all.",
    ),
    Axis(
        name="top_p",
        type=TopPs,
        column=pl.Float64,
        meaning="The probability that the units drawn from reach together.",
    ),
    Axis(
        name="guidance",
        type=Guidance,
        column=pl.Float64,
        meaning="The scale of guidance; 1 is none.",
    ),
    Axis(
        name="longest_run",
        type=Run,
        column=pl.Int64,
        meaning="After how many frames of one unit speech ends; 0 for never.",
    ),
    Axis(
        name="candidates",
        type=Candidates,
        column=pl.Int64,
        meaning="How many speeches were drawn, of which one was kept.",
    ),
)
"""Axes of decoding that a grid may vary."""


class DecodingSpec(Strict):
    """How units are chosen; part of every cell's key. See pixvox.decoding.sampling.Decoding."""

    temperature: Temperatures = 0.0
    """0 takes the likeliest unit; else from 0.001 to 100, by which the scores are divided. This and
    the next three may be a list of one value for each codebook."""
    top_k: Numbers = 0
    """Draws come from so many of the likeliest units; 0 for all."""
    top_p: TopPs = 1.0
    """Draws come from the likeliest units that together reach this probability."""
    guidance: Guidance = 1.0
    """The scale of classifier-free guidance: how far scores are moved away from those without the
    picture. 1 is none; else the weights need a null image."""
    longest_run: Run = 0
    """How many frames in a row may have the same unit in the first codebook; the same unit again
    ends the speech. 0 for any number: greedy speech of some models falls silent and never ends."""
    candidates: Candidates = 1
    """How many speeches are drawn for an item, of which the best is kept: the one that the model is
    surest of and, with a similarity head, that fits the picture best. More than 1 need a
    `temperature`."""
    seed: Seed = 0
    """The seed of the draws."""
    max_seconds: SpeechSeconds = 6.0
    """The longest speech that is generated, its prompt included."""
    slots: Slots = 32
    """How many items are generated at once. No item depends on the others, but for rounding."""
    lanes: Slots = 1
    """How many neighbouring slots share one image's keys and values; it must divide `slots`. With
    1, the candidates of an image share them on a GPU, and all of its rows do on a CPU."""
    arithmetic: Literal["float32", "bfloat16"] = "float32"
    """What the model computes in; `bfloat16` needs a GPU, reads half the bytes and rounds more."""

    @model_validator(mode="after")
    def _consistent(self) -> "DecodingSpec":
        if self.slots % self.lanes:
            reason = f"must divide the {self.slots} slots, and {self.lanes} does not"
            raise keys_error({"lanes": reason})
        if self.candidates > 1 and not self.draws:
            reason = (
                "more than 1 need a temperature: greedy decoding gives the same speech each time"
            )
            raise keys_error({"candidates": reason})
        return self

    @property
    def draws(self) -> bool:
        """Whether chance decides any unit."""
        heat = self.temperature
        return any(heat) if isinstance(heat, tuple) else heat > 0

    def at(self, point: Mapping[str, Any]) -> "DecodingSpec":
        """Returns the decoding with the values of a point of the grid."""
        update = {axis.name: point[axis.name] for axis in AXES if axis.name in point}
        decoding = self.model_copy(update=update)
        if decoding.draws:
            return decoding
        # Greedy decoding draws nothing, so all its seeds and candidates are the same variant.
        return decoding.model_copy(update={"seed": 0, "candidates": 1})

    def depends(self) -> dict[str, Any]:
        """Returns what keys of its speech hold; what is new and not used is not among it."""
        usual = DecodingSpec()
        newer = ("guidance", "candidates", "longest_run")
        return self.model_dump(
            exclude={axis for axis in newer if getattr(self, axis) == getattr(usual, axis)}
        )

    def unfit(self, codebooks: int, null_image: bool) -> str:
        """Returns what keeps a model from decoding so, in words; empty where nothing does."""
        for axis in AXES:
            value = getattr(self, axis.name)
            if isinstance(value, tuple) and len(value) != codebooks:
                return (
                    f"decoding.{axis.name} has {len(value)} values, and the model {codebooks} "
                    "codebooks; give one, or one for each"
                )
        if self.guidance != 1 and not null_image:
            return (
                "decoding.guidance needs a null image, and these weights have none; train them "
                "with image_dropout, or drop the line"
            )
        return ""

    def decoding_signature(self) -> str:
        """Returns what signatures state: temperature, max_seconds, slots and non-default values."""
        usual, always = DecodingSpec(), ("temperature", "max_seconds", "slots")
        settings = self.model_dump(exclude={"seed"})
        names = (n for n, value in settings.items() if n in always or value != getattr(usual, n))
        return ",".join(f"{name}={_exactly(settings[name])}" for name in names)

    def described(self) -> list[str]:
        """Returns what tells it apart, in words: seed and temperature, and what is not as usual."""
        usual = DecodingSpec()
        return [
            f"{axis.replace('_', ' ')} {_words(getattr(self, axis))}"
            for axis in (axis.name for axis in AXES)
            if axis in ("seed", "temperature") or getattr(self, axis) != getattr(usual, axis)
        ]


def usual_value(axis: str) -> str:
    """Returns the value that decoding has where nothing is said of an axis; "" for another axis."""
    field = DecodingSpec.model_fields.get(axis.replace(" ", "_"))
    return "" if field is None else _exactly(field.default)


def _words(value: Any) -> str:
    return ", ".join(f"{part:g}" for part in (value if isinstance(value, tuple) else (value,)))


def _exactly(value: Any) -> str:
    parts = value if isinstance(value, tuple) else (value,)
    return "/".join(str(part).removesuffix(".0") for part in parts)
