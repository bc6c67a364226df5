"""PixVoxLM as a system: its weights, their checks, and its decoding."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field

from bench.common.bounds import Label, Share
from bench.common.errors import UserError
from bench.common.yamlfile import WeightsName, read_small
from bench.datasets.base import Choice, Item
from bench.systems.axes import PROMPT, Axis
from bench.systems.base import Content, Generator, Lookup, System, label_of
from bench.systems.decoding import AXES, DecodingSpec
from bench.systems.imagestates import encoder_plugins
from bench.systems.pixvoxgenerator import PixVoxGenerator
from bench.systems.weightfacts import ConfigFacts, Model, cached_model_facts, config_facts
from pixvox.decoding.protocol import end_protocol
from pixvox.patternnames import fitted_name, pattern_name
from pixvox.weights import resolve

_MOST_BYTES = 1_000_000


Pattern = Annotated[str, BeforeValidator(pattern_name)]
"""A pattern's name, or `{delays: [...]}`, which is converted to a pattern."""


class PixVoxSystem(System):
    """A PixVoxLM checkpoint; there is a cell for each prompt, a share of the reference speech."""

    kind: Literal["pixvox"]
    label: Label
    weights: WeightsName
    """The checkpoint, by a path, `zoo:NAME` or a hub id."""
    codec: WeightsName | None = None
    """A codec in place of the checkpoint's; `null` uses the codec that the checkpoint names."""
    pattern: Pattern | None = None
    """The pattern that the checkpoint must have been trained with; `null` accepts any."""
    prompts: Annotated[tuple[Share, ...], Field(min_length=1)] = (0.0,)
    """Shares of the reference speech that are given as a prompt; there is a cell for each."""
    decoding: DecodingSpec = DecodingSpec()
    """How units are chosen."""

    continues: ClassVar[bool] = True
    needs_images: ClassVar[bool] = True
    uses_gpu: ClassVar[bool] = True

    @classmethod
    def recognised(cls, folder: Path, items: Sequence[Item]) -> Self | None:
        try:
            config = json.loads(read_small(folder / "config.json", _MOST_BYTES))
        except (UserError, ValueError):
            return None
        if not isinstance(config, dict) or config.get("model_type") != "pixvox":
            return None
        return cls(kind="pixvox", label=label_of(folder), weights=str(folder))

    def generator(self, device: str) -> Generator:
        if self.decoding.arithmetic != "float32" and not device.startswith("cuda"):
            raise UserError(f"decoding.arithmetic: {self.decoding.arithmetic} needs a GPU")
        return PixVoxGenerator(self.weights, self.codec, device, self.decoding.arithmetic)

    def content(self, lookup: Lookup) -> Content:
        """Raises UserError also if the longest speech does not fit the model's positions."""
        names = (self.weights, self.codec, self.pattern)
        facts = lookup.once(
            ("pixvox", *names), lambda: cached_model_facts(*names, lambda: _model(self))
        )
        config, seconds = facts.config, self.decoding.max_seconds
        frames = round(seconds * config.frame_rate) + 1
        steps = lookup.once(
            ("steps", config.pattern, config.num_codebooks, frames),
            lambda: _steps(config, frames),
        )
        if steps > config.max_position_embeddings:
            raise UserError(
                f"{self.weights}: decoding.max_seconds {seconds:g} needs {steps} steps, but "
                f"the model "
                f"has {config.max_position_embeddings} positions; lower it"
            )
        if unfit := self.decoding.unfit(config.num_codebooks, config.null_image):
            raise UserError(f"{self.weights}: {unfit}")
        depends: dict[str, Any] = {"kind": self.kind, "decoding": self.decoding.depends()}
        depends |= {"weights": facts.digest, "codec": facts.facts.digest}
        if ends := end_protocol(config.pattern, config.num_codebooks):
            depends["end_protocol"] = ends
        learnt = tuple(config.trained_on)
        return Content(
            depends=depends,
            pattern=config.pattern,
            weights=facts.digest,
            codec=facts.facts.digest,
            trained_on=learnt,
            plugins=encoder_plugins(self.weights),
        )

    @classmethod
    def axes(cls) -> tuple[Axis, ...]:
        return (PROMPT, *AXES)

    def values(self) -> Mapping[str, tuple[Any, ...]]:
        return {"prompt": self.prompts} | {
            axis.name: (getattr(self.decoding, axis.name),) for axis in AXES
        }

    def at(self, point: Mapping[str, Any]) -> Self:
        prompts = (point.get("prompt", self.prompts[0]),)
        return self.model_copy(update={"decoding": self.decoding.at(point), "prompts": prompts})

    def shared(self) -> System:
        decoding = DecodingSpec(arithmetic=self.decoding.arithmetic)
        plain = {"label": "", "prompts": (0.0,), "decoding": decoding}
        return self.model_copy(update=plain)

    def described(self) -> list[str]:
        return self.decoding.described()

    def sampled(self) -> bool:
        return self.decoding.draws

    def details(self) -> dict[str, Any]:
        """Returns all settings of decoding except its seed."""
        return self.decoding.model_dump(exclude={"seed"})

    def decoding_signature(self) -> str:
        return self.decoding.decoding_signature()

    def in_training(self) -> str:
        return "single model"

    def longest_seconds(self) -> float | None:
        return self.decoding.max_seconds

    def batch(self, usual: int) -> int:
        return max(1, self.decoding.slots // self.decoding.candidates)

    def codec_of(self) -> tuple[str, float] | None:
        from pixvox.configfile import pixvox_config

        config = pixvox_config(resolve(self.weights))
        return self.codec or config.codec, config.bandwidth

    def weights_names(self) -> Sequence[str]:
        return (self.weights, *super().weights_names())

    def uses_caption(self) -> bool:
        return self.prompts[0] > 0

    def likelihood(
        self, items: Sequence[Item], caption: Choice, device: str
    ) -> Mapping[str, float]:
        return PixVoxGenerator(self.weights, self.codec, device).likelihood(items, caption)


def _model(spec: PixVoxSystem) -> Model:
    """Returns the facts about the weights, after checks against config.json and the codec."""
    from pixvox.codec.facts import fitting_codec
    from pixvox.configfile import pixvox_config
    from pixvox.digests import digest
    from pixvox.modeling import PixVoxLM
    from pixvox.shapes import check_fit, shapes_of, tensor_shapes

    folder = resolve(spec.weights)
    config = pixvox_config(folder)
    if spec.pattern is not None and _fitted(spec, config.num_codebooks) != config.pattern:
        raise UserError(
            f"{spec.weights}: trained on the pattern {config.pattern!r}, the job asks for "
            f"{spec.pattern!r}; name the other checkpoint or drop the line"
        )
    codec, facts = fitting_codec(spec.weights, config, spec.codec)
    check_fit(folder, tensor_shapes(folder), shapes_of(PixVoxLM, config))
    return Model(config_facts(config), codec, facts, digest(folder))


def _fitted(spec: PixVoxSystem, codebooks: int) -> str:
    assert spec.pattern is not None
    try:
        return fitted_name(spec.pattern, codebooks)
    except ValueError as error:
        raise UserError(f"{spec.weights}: {error}") from error


def _steps(config: ConfigFacts, frames: int) -> int:
    from pixvox.patterns import layout

    return len(layout(config.pattern, config.num_codebooks, frames).steps)
