"""Linear layers made ready for many small products: fused, and packed where the CPU gains by it."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Ready:
    """`x [B, I]` → `[B, sum of outputs]` of linear layers that share their input.

    On CPU the weights are laid out once as oneDNN wants them for `rows` rows, which saves a fifth
    of the time of such a product; without oneDNN, and elsewhere, it is a plain product.
    """

    def __init__(self, linears: Sequence[nn.Module], rows: int, gelu: bool = False) -> None:
        self.weight = torch.cat([cast(Tensor, linear.weight) for linear in linears]).detach()
        self.bias = torch.cat([cast(Tensor, linear.bias) for linear in linears]).detach()
        self.gelu = gelu
        self.packed: Any = None
        if self.weight.device.type == "cpu" and torch.backends.mkldnn.is_available():
            self.packed = torch.ops.mkldnn._reorder_linear_weight(self.weight, rows)

    def __call__(self, x: Tensor) -> Tensor:
        if self.packed is None:
            y = F.linear(x, self.weight, self.bias)
            return F.gelu(y) if self.gelu else y
        kind, algorithm = ("gelu", "none") if self.gelu else ("none", "")
        packed: Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self.packed, self.bias, kind, [], algorithm
        )
        return packed


class Normalised:
    """`LayerNorm(x)`, without a module's lookups, which take longer than its few numbers do."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        self.shape, self.eps = norm.normalized_shape, norm.eps
        self.weight, self.bias = norm.weight.detach(), norm.bias.detach()

    def __call__(self, x: Tensor) -> Tensor:
        return torch.layer_norm(x, self.shape, self.weight, self.bias, self.eps)


class Residual:
    """`LayerNorm(x + linear(y))`, the end of each part of a post-norm layer."""

    def __init__(self, linear: nn.Linear, norm: nn.LayerNorm, rows: int) -> None:
        self.linear, self.norm = Ready([linear], rows), Normalised(norm)

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """`x [B, O]`, `y [B, I]` → `[B, O]`."""
        ready = self.linear
        if ready.packed is None:
            return self.norm(x + ready(y))
        # The same sum, taken while the product is still in the processor's registers.
        added = torch.ops.mkldnn._linear_pointwise.binary(y, x, ready.packed, ready.bias, "add")
        return self.norm(added)
