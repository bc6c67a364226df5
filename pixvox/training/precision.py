"""What a training computes in, and by which attention."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


def dtype_of(wanted: str, device: torch.device) -> torch.dtype:
    """bfloat16 where it is wanted, or, for `auto`, where the hardware has it; else float32."""
    if wanted == "auto":
        # Without instructions of its own bfloat16 is emulated, many times slower than float32.
        on_cpu = bool(torch.cpu._is_avx512_bf16_supported())
        has = (
            torch.cuda.is_bf16_supported(including_emulation=False)
            if device.type == "cuda"
            else on_cpu
        )
        wanted = "bfloat16" if has else "float32"
    return torch.bfloat16 if wanted == "bfloat16" else torch.float32


def precision(wanted: str, device: torch.device) -> AbstractContextManager[object]:
    """Autocast to `dtype_of` what is wanted."""
    enabled = dtype_of(wanted, device) == torch.bfloat16
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def attention(device: torch.device) -> AbstractContextManager[object]:
    """PyTorch's fused attention is slower backwards on CPU than the plain matrix products."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()
