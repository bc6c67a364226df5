"""Attention of variable length gives what masked attention gives, within bfloat16's rounding."""

import inspect
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.attention import varlen

from pixvox.decoding.kernels import AttentionKind
from pixvox.decoding.stepper import Shape, Stepper
from pixvox.decoding.varlen import reference_varlen_attn
from pixvox.modeling import PixVoxLM

Make = Callable[..., PixVoxLM]
STEPS = 12


def _logits(model: PixVoxLM, attention: AttentionKind, lanes: int, guided: bool) -> Tensor:
    """`[S, B, K, C + 1]`: scores of some steps of four rows, of which two have a prompt."""
    shape = Shape(
        slots=4,
        lanes=lanes,
        steps=32,
        dtype=torch.bfloat16,
        attention=attention,
        guided=guided,
    )
    stepper, rng = Stepper(model, shape), torch.manual_seed(3)
    images = torch.randn(4 // lanes, 5, 32, generator=rng)
    units = torch.randint(0, 17, (STEPS + 5, 4, 3), generator=rng)
    scores = []
    with torch.inference_mode():
        for entry, image in enumerate(images):
            stepper.remember(entry, image)
        for slot in (1, 2):
            stepper.prefill(slot, slot // lanes, units[:5, slot].T)
        start = torch.tensor([0, 5, 5, 0])
        for step in range(STEPS):
            scores.append(stepper.logits(units[step + 5], start + step, 32))
    return torch.stack(scores)


@pytest.mark.parametrize("guided", [False, True])
@pytest.mark.parametrize("lanes", [1, 2])
def test_logits_are_those_of_masked_attention(small_model: Make, lanes: int, guided: bool) -> None:
    model = small_model("delay", null_image=True)
    with torch.no_grad():
        model.null_image.normal_()  # type: ignore[union-attr]
    dense, by_length = (_logits(model, kind, lanes, guided) for kind in ("dense", "varlen"))
    assert dense.shape[1] == (8 if guided else 4)
    # bfloat16 has 8 bits: values around 1 differ by some hundredths after two layers.
    torch.testing.assert_close(by_length, dense, atol=0.05, rtol=0)
    assert float((by_length - dense).abs().max()) < 0.2 * float(dense.std())


def test_the_reference_is_called_as_the_kernel_is() -> None:
    ours = inspect.signature(reference_varlen_attn).parameters
    theirs = inspect.signature(varlen.varlen_attn).parameters
    positional = [name for name, p in theirs.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert list(ours)[: len(positional)] == positional
    assert ours.keys() <= theirs.keys()


def test_a_row_is_the_same_whatever_is_beside_it(small_model: Make) -> None:
    keys, values = (torch.randn(3 * 8, 2, 16, dtype=torch.bfloat16) for _ in range(2))
    queries = torch.randn(3, 2, 16, dtype=torch.bfloat16)
    rows, edges = torch.arange(4, dtype=torch.int32), torch.arange(4, dtype=torch.int32) * 8
    results = [
        reference_varlen_attn(
            queries, keys, values, rows, edges, 1, 8, seqused_k=torch.tensor([4, other, 8])
        )
        for other in (1, 8)
    ]
    assert torch.equal(results[0][[0, 2]], results[1][[0, 2]])
