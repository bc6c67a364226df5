"""Word error rate by jiwer, against the caption that was spoken."""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from whisper.normalizers import EnglishTextNormalizer

NAME = "WER"


@lru_cache(maxsize=1)
def _normaliser() -> "EnglishTextNormalizer":
    from whisper.normalizers import EnglishTextNormalizer

    return EnglishTextNormalizer()


def wer(spoken: Sequence[str], transcripts: Sequence[str]) -> float:
    """Corpus WER (edits over reference words), both sides through Whisper's English normaliser."""
    import jiwer

    clean = _normaliser()
    pairs = [(clean(s), clean(t)) for s, t in zip(spoken, transcripts, strict=True)]
    return float(jiwer.wer([s for s, _ in pairs], [t for _, t in pairs]))
