"""Text normalisers: applied to both sides or to neither, when scores are made."""

from collections.abc import Callable
from functools import lru_cache


@lru_cache(maxsize=1)
def english() -> Callable[[str], str]:
    """Whisper's English normaliser (Radford et al. 2022, appendix C)."""
    from whisper.normalizers import EnglishTextNormalizer

    normaliser: Callable[[str], str] = EnglishTextNormalizer()
    return normaliser


def normaliser(name: str) -> Callable[[str], str]:
    """`none` or `whisper`."""
    return english() if name == "whisper" else str
