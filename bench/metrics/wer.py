"""Word error rate by jiwer, against the spoken caption."""

import numpy as np

from bench.metrics.base import Array, Hypotheses, Metric, References, Score
from bench.metrics.normalise import english


class Wer(Metric):
    """Edits divided by words of the captions; both through Whisper's English normaliser."""

    name = "WER"
    columns = ("edits", "words")
    scores = (Score("WER", "WER", display_priority=2, hub="wer", lower_is_better=True),)
    against = "caption"

    def statistics(self, hypotheses: Hypotheses, references: References) -> Array:
        """Counts word errors against `references`, which has exactly one caption for every item."""
        import jiwer

        clean = english()
        rows = []
        for item, transcript in hypotheses.items():
            (caption,) = references[item]
            reference, hypothesis = clean(caption), clean(transcript)
            if not reference.strip():
                # jiwer refuses a reference without words: all words transcribed are then
                # insertions.
                rows.append((len(hypothesis.split()), 0))
                continue
            alignment = jiwer.process_words(reference, hypothesis)
            edits = alignment.substitutions + alignment.deletions + alignment.insertions
            rows.append((edits, alignment.hits + alignment.substitutions + alignment.deletions))
        return np.array(rows, dtype=np.float64).reshape(-1, 2)

    def score(self, sums: Array) -> Array:
        rates: Array = 100 * sums[..., :1] / np.maximum(sums[..., 1:], 1)
        return rates
