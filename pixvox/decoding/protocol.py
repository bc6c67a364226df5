"""Which version of decoding made units: part of every key that stands on them."""

from pixvox.patternnames import delays_of

PROTOCOL = 3
"""Raised when a change changes units, how it rounds included (see attention and linear in this
folder); part of every cell's key."""


def end_protocol(pattern: str, codebooks: int) -> int:
    """A version of its own for what happens in the step that ends a speech; 0 for most patterns.

    Where another codebook is chosen in the first's own step and a third one lags, version 0 let
    the third see a unit of a frame after the end. Only those patterns' keys need to tell.
    """
    delays = delays_of(pattern, codebooks)
    return int(delays is not None and 0 in delays[1:] and any(delays))
