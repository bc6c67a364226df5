"""A fresh caption of what is true of the picture, read aloud: what a perfect captioner would reach.

A reference caption that is left out says what people reach who saw the picture; this one is drawn
again from the picture's facts, in a wording that no reference need have.
"""

import random
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from bench.common.audio import SpeechError
from bench.common.bounds import Label, Seed
from bench.datasets.base import Item
from bench.datasets.scenes.captions import caption
from bench.datasets.scenes.facts import scene_of
from bench.systems.axes import SEED, Axis
from bench.systems.base import Role, Variant
from bench.systems.readaloud import ReadAloud, Writer


class OracleSystem(ReadAloud):
    """A fresh caption of the picture's facts, read aloud; only for datasets that know the facts."""

    kind: Literal["oracle"]
    label: Label = "oracle caption"
    seed: Seed = 0
    """The seed of the wording."""

    role: ClassVar[Role] = Role.CEILING

    def writer(self, device: str) -> Writer:
        return _Oracle()

    def written_with(self) -> str:
        return ""

    @classmethod
    def axes(cls) -> tuple[Axis, ...]:
        return (SEED,)

    def values(self) -> Mapping[str, tuple[Any, ...]]:
        return {"seed": (self.seed,)}

    def at(self, point: Mapping[str, Any]) -> Self:
        return self.model_copy(update={"seed": point.get("seed", self.seed)})

    def shared(self) -> "OracleSystem":
        return self.model_copy(update={"label": "", "seed": 0})

    def described(self) -> list[str]:
        return [f"seed {self.seed}"]

    def sampled(self) -> bool:
        return True


class _Oracle(Writer):
    def write(self, item: Item, variant: Variant) -> str:
        assert isinstance(variant.system, OracleSystem)
        if not item.facts:
            raise SpeechError(f"{item.id}: nothing is known of what is true of the picture")
        return caption(scene_of(item.facts), random.Random(f"{variant.system.seed}/{item.id}"))
