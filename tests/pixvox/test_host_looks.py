"""Between two looks at its rows the step loop reads no value and no memory of the CPU."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from pixvox.decoding.engine import Engine
from pixvox.decoding.kernels import AttentionKind
from pixvox.decoding.sampling import Decoding
from pixvox.decoding.stepper import Stepper
from pixvox.modeling import PixVoxLM
from pixvox.patternnames import PATTERN_NAMES
from tests.nohost import NoHost

Make = Callable[..., PixVoxLM]


def _on_meta(model: PixVoxLM, decoding: Decoding, attention: AttentionKind = "dense") -> Engine:
    """A GPU's engine without a GPU: meta tensors have no values, so reading one raises."""
    engine = Engine(model, decoding, dense=True)
    dtype = torch.bfloat16 if attention == "varlen" else torch.float32
    engine.shape = replace(engine.shape, attention=attention, dtype=dtype)
    engine.stepper = Stepper(model.to("meta"), engine.shape)
    engine.device, engine.poll = torch.device("meta"), 8
    for name, value in vars(engine).items():
        if isinstance(value, Tensor):
            setattr(engine, name, value.to("meta"))
    return engine


@pytest.mark.parametrize(
    ("pattern", "attention"),
    [*((pattern, "dense") for pattern in PATTERN_NAMES), ("delay", "varlen")],
)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"guidance": (2.0, 1.0, 1.5), "longest_run": 2},
        {"temperature": (0.0, 0.5, 1.0), "top_k": 4, "top_p": 0.9, "candidates": 2, "lanes": 2},
    ],
    ids=["greedy", "guided", "drawn"],
)
def test_the_step_loop_does_not_look(
    small_model: Make, pattern: str, attention: AttentionKind, options: dict[str, Any]
) -> None:
    decoding = Decoding(max_seconds=2.0, slots=4, **options)
    engine = _on_meta(small_model(pattern, null_image=True), decoding, attention)
    engine.ages = {0: 0, 3: 2}
    with torch.inference_mode(), NoHost() as mode:
        engine._run()
    assert engine.steps_run == 8
    assert mode.operations > 100


def test_a_look_is_noticed(small_model: Make) -> None:
    engine = _on_meta(small_model("delay"), Decoding(max_seconds=2.0, slots=2))
    for look in (lambda: engine.position.max().item(), lambda: engine.ends.cpu()):
        with pytest.raises((RuntimeError, NotImplementedError)), NoHost():
            look()
    with pytest.raises(AssertionError, match="on cpu"), NoHost():
        engine.position + torch.zeros(2, dtype=torch.long)
