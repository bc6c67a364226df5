"""How PixVoxLM's units are chosen: the keys of a job's `decoding`."""

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
        meaning="How many of the likeliest units are drawn from; 0 for all.",
    ),
    Axis(
        name="top_p",
        type=TopPs,
        column=pl.Float64,
        meaning="The total probability of the units that are drawn from.",
    ),
    Axis(
        name="guidance",
        type=Guidance,
        column=pl.Float64,
        meaning="The scale of guidance; 1 is no guidance.",
    ),
    Axis(
        name="longest_run",
        type=Run,
        column=pl.Int64,
        meaning="How many frames of one unit in a row end speech; 0 for never.",
    ),
    Axis(
        name="candidates",
        type=Candidates,
        column=pl.Int64,
        meaning="How many speeches were drawn, of which the best is used.",
    ),
)
"""Axes of decoding that a grid may vary."""


class DecodingSpec(Strict):
    """How units are chosen; part of every cell's key (see pixvox.decoding.sampling.Decoding)."""

    temperature: Temperatures = 0.0
    """0 chooses the likeliest unit; otherwise the number, 0.001 to 100, that divides the logits.
    This and the next three keys may be a list with a value for each codebook."""
    top_k: Numbers = 0
    """Units are drawn from this many of the likeliest units; 0 for all."""
    top_p: TopPs = 1.0
    """Units are drawn from the likeliest ones that together have this probability."""
    guidance: Guidance = 1.0
    """The scale of classifier-free guidance: how far logits are moved away from those without the
    picture. 1 is no guidance; another value needs weights with a null image."""
    longest_run: Run = 0
    """How many frames in a row may have the same unit in the first codebook; one more ends the
    speech. 0 for any number: greedy speech of some models falls silent and never ends."""
    candidates: Candidates = 1
    """How many speeches are drawn for an item. The best is used: the one with the highest
    likelihood and, with a similarity head, the best fit to the picture. More than 1 need a
    `temperature`."""
    seed: Seed = 0
    """The seed of the draws."""
    max_seconds: SpeechSeconds = 6.0
    """The longest speech that is generated, in seconds, including its prompt."""
    slots: Slots = 32
    """How many items are generated at once. Except for rounding, no item depends on the others."""
    lanes: Slots = 1
    """How many neighbouring slots share one image's keys and values; it must divide `slots`. With
    1, only the candidates of an image share them on a GPU; on a CPU, all rows of an image do."""
    arithmetic: Literal["float32", "bfloat16"] = "float32"
    """The model's precision; `bfloat16` needs a GPU, reads half the bytes and rounds more."""

    @model_validator(mode="after")
    def _consistent(self) -> "DecodingSpec":
        if self.slots % self.lanes:
            reason = f"must divide the {self.slots} slots; {self.lanes} does not"
            raise keys_error({"lanes": reason})
        if self.candidates > 1 and not self.draws:
            reason = (
                "more than 1 need a temperature: greedy decoding gives the same speech each time"
            )
            raise keys_error({"candidates": reason})
        return self

    @property
    def draws(self) -> bool:
        """Returns whether any unit is drawn at random."""
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
        """Returns the settings for keys; a setting that is new is left out at its default."""
        usual = DecodingSpec()
        newer = ("guidance", "candidates", "longest_run")
        return self.model_dump(
            exclude={axis for axis in newer if getattr(self, axis) == getattr(usual, axis)}
        )

    def unfit(self, codebooks: int, null_image: bool) -> str:
        """Returns why a model cannot decode so, or "" if it can."""
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
        """Returns what distinguishes it, in words: seed, temperature, and non-default settings."""
        usual = DecodingSpec()
        return [
            f"{axis.replace('_', ' ')} {_words(getattr(self, axis))}"
            for axis in (axis.name for axis in AXES)
            if axis in ("seed", "temperature") or getattr(self, axis) != getattr(usual, axis)
        ]


def usual_value(axis: str) -> str:
    """Returns an axis's value in decoding without settings; "" for another axis."""
    field = DecodingSpec.model_fields.get(axis.replace(" ", "_"))
    return "" if field is None else _exactly(field.default)


def _words(value: Any) -> str:
    return ", ".join(f"{part:g}" for part in (value if isinstance(value, tuple) else (value,)))


def _exactly(value: Any) -> str:
    parts = value if isinstance(value, tuple) else (value,)
    return "/".join(str(part).removesuffix(".0") for part in parts)
