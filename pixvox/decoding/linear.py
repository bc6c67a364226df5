"""Linear layers prepared for many small products: fused, and packed on CPUs."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Ready:
    """Maps `x [B, I]` to `[B, sum of outputs]` of linear layers with the same input.

    On CPU the weights are laid out once as oneDNN wants them for `rows` rows, which saves a fifth
    of the time of such a product; without oneDNN, and elsewhere, it is a plain product. So it is in
    bfloat16, which no CPU decodes in and only some of them can pack.
    """

    def __init__(
        self, linears: Sequence[nn.Module], rows: int, dtype: torch.dtype, gelu: bool = False
    ) -> None:
        weight = torch.cat([cast(Tensor, linear.weight) for linear in linears]).detach().to(dtype)
        bias = torch.cat([cast(Tensor, linear.bias) for linear in linears]).detach()
        self.bias, self.gelu = bias.to(dtype), gelu
        on_cpu = weight.device.type == "cpu" and dtype == torch.float32
        self.packed = on_cpu and torch.backends.mkldnn.is_available()
        self.weight = (
            torch.ops.mkldnn._reorder_linear_weight(weight, rows) if self.packed else weight
        )

    def __call__(self, x: Tensor) -> Tensor:
        if self.packed:
            kind, algorithm = ("gelu", "none") if self.gelu else ("none", "")
            y: Tensor = torch.ops.mkldnn._linear_pointwise(
                x, self.weight, self.bias, kind, [], algorithm
            )
            return y
        y = F.linear(x, self.weight, self.bias)
        return F.gelu(y) if self.gelu else y

    def added(self, x: Tensor, to: Tensor) -> Tensor:
        """Returns `to [B, O]` plus the product of `x`, for layers without an activation."""
        if self.packed:
            # The same sum, computed before the product leaves the processor's cache.
            y: Tensor = torch.ops.mkldnn._linear_pointwise.binary(
                x, to, self.weight, self.bias, "add"
            )
            return y
        return to + F.linear(x, self.weight, self.bias)


class Normalised:
    """`LayerNorm(x)` without a module's overhead, which takes longer than the computation."""

    def __init__(self, norm: nn.LayerNorm, dtype: torch.dtype) -> None:
        self.shape, self.eps = norm.normalized_shape, norm.eps
        self.weight, self.bias = norm.weight.detach().to(dtype), norm.bias.detach().to(dtype)

    def __call__(self, x: Tensor) -> Tensor:
        return torch.layer_norm(x, self.shape, self.weight, self.bias, self.eps)


class Residual:
    """`LayerNorm(x + linear(y))`, the end of each part of a post-norm layer."""

    def __init__(self, linear: Ready, norm: Normalised) -> None:
        self.linear, self.norm = linear, norm

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Returns `[B, O]` for `x [B, O]` and `y [B, I]`."""
        return self.norm(self.linear.added(y, x))
