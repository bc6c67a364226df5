"""All metrics of a cell as one matrix of sufficient statistics, a row an item.

Corpus scores are functions of the column sums, so that a resampled corpus is a product of weights
and this matrix: thousands of replicates cost no more than one pass over the texts.
"""

import numpy as np

from bench.metrics import bleu, cider, meteor, rouge, wer
from bench.metrics.types import Array

METRICS = (*bleu.NAMES, meteor.NAME, rouge.NAME, cider.NAME)

_BLEU = slice(0, bleu.WIDTH)
_METEOR = slice(_BLEU.stop, _BLEU.stop + meteor.WIDTH)
_ROUGE = _METEOR.stop
_CIDER = _ROUGE + 1
_COUNT = _CIDER + 1
_WER = slice(_COUNT + 1, _COUNT + 1 + wer.WIDTH)


def joined(bleu_: Array, meteor_: Array, rouge_: Array, cider_: Array, wer_: Array | None) -> Array:
    """The matrix `[n, D]` of the metrics' own statistics; without WER it has two columns fewer."""
    count = np.ones((len(bleu_), 1))
    parts = [bleu_, meteor_, rouge_[:, None], cider_[:, None], count]
    return np.concatenate([*parts, wer_] if wer_ is not None else parts, axis=1)


def scores(sums: Array) -> dict[str, Array]:
    """Every metric in percent, from statistics summed over items, `[..., D]`."""
    count = sums[..., _COUNT]
    found = bleu.bleu(sums[..., _BLEU]) | meteor.meteor(sums[..., _METEOR])
    found |= {rouge.NAME: sums[..., _ROUGE] / count, cider.NAME: sums[..., _CIDER] / count}
    if sums.shape[-1] > _COUNT + 1:
        found |= wer.wer(sums[..., _WER])
    return found
