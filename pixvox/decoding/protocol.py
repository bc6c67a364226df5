"""The version of decoding, which is part of every key of generated speech."""

from pixvox.patternnames import delays_of

PROTOCOL = 3
"""Raise it when a change changes units, including rounding (see attention and linear)."""


def end_protocol(pattern: str, codebooks: int) -> int:
    """Returns a separate version for the step that ends a speech; 0 for most patterns.

    If another codebook is chosen in the first one's step and a third one lags, version 0 showed the
    third a unit of a frame after the end. Only those patterns' keys have this version.
    """
    delays = delays_of(pattern, codebooks)
    return int(delays is not None and 0 in delays[1:] and any(delays))
