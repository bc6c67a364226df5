"""Speaking rate: words in transcripts per minute of speech, pauses included."""

import numpy as np
import polars as pl

from bench.metrics.base import Array, RowMetric, Score


class SpeakingRate(RowMetric):
    """Words divided by minutes, over all items together; failed items have neither.

    A word is separated by spaces and has a letter or a digit.
    """

    name = "speaking rate"
    columns = ("words", "seconds")
    scores = (
        Score(
            "speaking rate",
            "WPM",
            display_priority=1,
            unit="words a minute",
            hub="speaking-rate",
            ranked=False,
        ),
    )

    def statistics(self, rows: pl.DataFrame) -> Array:
        spoken = rows["status"] == "ok"
        words = [_words(text) for text in rows["transcript"].fill_null("")]
        values = np.array([words, rows["seconds"].fill_null(0)], dtype=np.float64).T
        return values * spoken.to_numpy()[:, None]

    def score(self, sums: Array) -> Array:
        """Returns the rate, `[..., 1]`; 0 where there are no seconds of speech."""
        words, seconds = sums[..., :1], sums[..., 1:]
        return np.divide(60 * words, seconds, out=np.zeros_like(words), where=seconds > 0)


def _words(text: str) -> int:
    return sum(any(map(str.isalnum, word)) for word in text.split())
