"""A new caption of the picture's facts, read aloud: the score of a perfect captioner.

A left-out reference caption shows what people reach. This caption is generated from the picture's
facts, in a wording that may differ from every reference.
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
    """A new caption of the picture's facts, read aloud; only for datasets that have facts."""

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
            raise SpeechError(f"{item.id}: the dataset has no facts about the picture")
        return caption(scene_of(item.facts), random.Random(f"{variant.system.seed}/{item.id}"))
