"""Learning-rate schedules."""

import math


def cosine(step: int, steps: int, peak: float, warmup: int, *, floor: float = 0.02) -> float:
    """Returns a rate: linear warm-up to `peak`, then a half cosine to `floor * peak`."""
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, steps - warmup))
    return peak * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress)))
