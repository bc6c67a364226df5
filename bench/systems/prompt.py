"""The prompt and nothing after it: a floor for speech completion by copying."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field

from bench.common.bounds import Bandwidth, Label, SomeShare
from bench.common.yamlfile import WeightsName
from bench.systems.axes import BANDWIDTH, PROMPT, Axis
from bench.systems.base import Content, Generator, Lookup, Role, System
from bench.systems.resynthesis import CodecGenerator


class PromptSystem(System):
    """The prompt and nothing after it, through the codec: a floor for completion by copying."""

    kind: Literal["prompt"]
    label: Label = "prompt copied"
    codec: WeightsName
    """The codec, by a path, `zoo:NAME`, a hub id or `encodec:24khz`."""
    bandwidth: Bandwidth
    """The codec's bandwidth in kbps, which decides how many codebooks it has."""
    prompts: Annotated[tuple[SomeShare, ...], Field(min_length=1)] = (0.25, 0.5)
    """Shares of the reference speech that are copied; there is a cell for each."""

    role: ClassVar[Role] = Role.FLOOR

    def generator(self, device: str) -> Generator:
        return CodecGenerator(self.codec, self.bandwidth)

    def content(self, lookup: Lookup) -> Content:
        codec = lookup.codec(self.codec, self.bandwidth).digest
        depends = self.model_dump(exclude={"label", "prompts"}) | {"codec": codec}
        return Content(depends=depends, codec=codec)

    @classmethod
    def axes(cls) -> tuple[Axis, ...]:
        return (PROMPT, BANDWIDTH)

    def values(self) -> Mapping[str, tuple[Any, ...]]:
        return {"prompt": self.prompts, "bandwidth": (self.bandwidth,)}

    def allowed(self, axis: str, value: Any) -> bool:
        """Returns False for a prompt of 0%, which has nothing to copy."""
        return axis != "prompt" or value > 0

    def at(self, point: Mapping[str, Any]) -> Self:
        changes = {
            "bandwidth": point.get("bandwidth", self.bandwidth),
            "prompts": (point.get("prompt", self.prompts[0]),),
        }
        return self.model_copy(update=changes)

    def shared(self) -> System:
        return self.model_copy(update={"label": "", "prompts": (0.5,)})

    def described(self) -> list[str]:
        return [f"{self.bandwidth:g} kbps"]

    def codec_of(self) -> tuple[str, float] | None:
        return self.codec, self.bandwidth

    def uses_caption(self) -> bool:
        return True
