"""The precision of training, and the kind of attention."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


def dtype_of(wanted: str, device: torch.device) -> torch.dtype:
    """Returns bfloat16 if asked for or, for `auto`, supported; else float32."""
    if wanted == "auto":
        # Without hardware support bfloat16 is emulated, many times slower than float32.
        on_cpu = bool(torch.cpu._is_avx512_bf16_supported())
        has = (
            torch.cuda.is_bf16_supported(including_emulation=False)
            if device.type == "cuda"
            else on_cpu
        )
        wanted = "bfloat16" if has else "float32"
    return torch.bfloat16 if wanted == "bfloat16" else torch.float32


def precision(wanted: str, device: torch.device) -> AbstractContextManager[object]:
    """Returns autocast to the result of `dtype_of`."""
    enabled = dtype_of(wanted, device) == torch.bfloat16
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def attention(device: torch.device) -> AbstractContextManager[object]:
    """Returns a context in which attention on a CPU uses plain matrix products.

    PyTorch's fused attention is slower there in the backward pass.
    """
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()
