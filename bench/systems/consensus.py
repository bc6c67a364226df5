"""Chooses the caption most similar to the other candidates, by words or by units of speech.

Devlin et al. 2015, "Exploring Nearest Neighbor Approaches for Image Captioning", section 3.2.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from math import log

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Units = npt.NDArray[np.int64]

_ORDERS = (1, 2, 3, 4)
"""Orders of the n-grams in CIDEr."""
GAP = 1000
"""The cost of inserting or deleting a unit, and the highest cost of substituting one."""
_ALIKE_PERCENTILE = 10
"""Percentile of the distances between a codebook's entries above which substitution costs GAP."""


def most_central(similarity: Array) -> int:
    """Returns the candidate with the highest mean similarity `[C, C]` to its most similar half.

    Ties go to the first. Only half of the other candidates count, so that captions of another kind
    of picture do not.
    """
    others = similarity[~np.eye(len(similarity), dtype=bool)].reshape(len(similarity), -1)
    half = (others.shape[1] + 1) // 2
    nearest = np.sort(others, axis=1)[:, others.shape[1] - half :]
    # Rounded, so that rounding errors do not break ties.
    return int(np.round(nearest.sum(axis=1), 9).argmax())


class WordSimilarity:
    """Similarity of captions by n-grams of words, as in CIDEr (Vedantam et al. 2015)."""

    def __init__(self, captions_by_image: Iterable[Sequence[str]]) -> None:
        """Computes document frequencies from all captions of all training images."""
        self._frequency: Counter[tuple[str, ...]] = Counter()
        images = 0
        for captions in captions_by_image:
            self._frequency.update({gram for text in captions for gram in _all_grams(text)})
            images += 1
        self._log_images = log(max(images, 1))

    def __call__(self, captions: Sequence[str]) -> Array:
        """Returns `[C, C]`, from 0 to 1: the mean over n of cosines of n-grams' tf-idf."""
        words = [_words(text) for text in captions]
        total = np.zeros((len(words), len(words)))
        for order in _ORDERS:
            counts = [Counter(_grams(caption_words, order)) for caption_words in words]
            columns = {
                gram: at for at, gram in enumerate(dict.fromkeys(g for c in counts for g in c))
            }
            vectors = np.zeros((len(words), len(columns)))
            for row, count in enumerate(counts):
                for gram, times in count.items():
                    vectors[row, columns[gram]] = times * self._rarity(gram)
            lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
            vectors /= np.where(lengths > 0, lengths, 1.0)
            total += vectors @ vectors.T
        return total / len(_ORDERS)

    def _rarity(self, gram: tuple[str, ...]) -> float:
        return self._log_images - log(max(1, self._frequency[gram]))


def _words(text: str) -> list[str]:
    return re.findall(r"[\w']+", text.lower())


def _grams(words: Sequence[str], order: int) -> Iterator[tuple[str, ...]]:
    return zip(*(words[start:] for start in range(order)), strict=False)


def _all_grams(text: str) -> Iterator[tuple[str, ...]]:
    words = _words(text)
    return (gram for order in _ORDERS for gram in _grams(words, order))


def substitution_costs(codebook: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
    """Returns the cost `[V, V]`, 0 to GAP, of substituting units, from codebook entries `[V, D]`.

    Entries that are close to each other sound alike and cost less.
    """
    entries = codebook.astype(np.float64)
    # One row at a time: all differences of 1024 entries of 128 numbers would take 1 GB.
    squares = np.stack([((entry - entries) ** 2).sum(-1) for entry in entries])
    distances = np.sqrt(squares)
    apart = np.percentile(distances[np.triu_indices(len(entries), 1)], _ALIKE_PERCENTILE)
    return np.rint(GAP * np.minimum(1.0, distances / apart)).astype(np.int32)


def unit_similarity(units: Sequence[Units], costs: npt.NDArray[np.int32]) -> Array:
    """Returns the similarity `[C, C]` of each pair of sequences `[N]`: one minus their weighted
    edit distance over the longer length.

    Repeated units are counted. A similarity near 0 means that all of the longer sequence is
    substituted.
    """
    from bench.systems.editdistance import edit_distances

    lengths = np.array([len(sequence) for sequence in units])
    ends = np.concatenate([[0], np.cumsum(lengths)])
    distances = edit_distances(np.concatenate(units), ends, costs, GAP)
    longer = np.maximum(np.maximum(lengths[:, None], lengths[None]), 1)
    return 1.0 - distances / (GAP * longer)
