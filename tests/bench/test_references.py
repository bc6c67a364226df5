"""One set of references for every row of a table, without the caption that is said."""

import hashlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from pycocoevalcap.bleu.bleu import Bleu as PublishedBleu
from pycocoevalcap.cider.cider import Cider as PublishedCider
from pycocoevalcap.rouge.rouge import Rouge as PublishedRouge
from transcripts import transcribed

from bench.common.errors import UserError
from bench.datasets.base import Caption, Choice, Dataset, Item
from bench.jobs.expansion import expand
from bench.jobs.preflight import check_references
from bench.jobs.spec import Job, Reading, ScoringSpec
from bench.metrics.tokens import tokenise
from bench.scoring.scorer import CellScores, Scorer
from bench.systems.copied import CopiedSystem

pytestmark = pytest.mark.slow


def _scored(
    data: Dataset, reading: Reading, caption: Choice, cache: Path
) -> tuple[Scorer, list[CellScores]]:
    systems = [{"kind": "text"}, {"kind": "copied", "label": "half", "share": 0.5}]
    job = Job.model_validate(
        {"name": "a", "dataset": {"name": "scenes"}, "systems": systems, "caption": caption}
    )
    spec = ScoringSpec(references=reading, replicates=100)
    with Scorer(data, spec, {}, cache, caption=caption) as scorer:
        scores = []
        for cell in expand(job, data, []):
            texts = [cell.system.transcript(item, item.chosen(caption)) for item in data.items]
            table = transcribed(data.items, texts, caption)
            scores.append(scorer.score(cell, table))
    return scorer, scores


@pytest.mark.parametrize("reading", ["others", "all"])
@pytest.mark.parametrize("caption", ["rotating", 2])
def test_texts_score_as_stock_pycocoevalcap_with_the_same_references(
    scenes: Dataset, reading: Reading, caption: Choice, tmp_path: Path
) -> None:
    data = replace(scenes, items=scenes.items[:25])
    scorer, scores = _scored(data, reading, caption, tmp_path)
    # By hand: which caption is said, what is left of the references, and half of its words.
    said, left, halves = {}, {}, {}
    for item in data.items:
        drawn = int(hashlib.sha256(item.id.encode()).hexdigest()[:16], 16)
        number = drawn % 5 if caption == "rotating" else caption
        texts = [caption.text for caption in item.captions]
        left[item.id] = [t for n, t in enumerate(texts) if n != number or reading == "all"]
        words = texts[number].split()
        said[item.id], halves[item.id] = texts[number], " ".join(words[: (len(words) + 1) // 2])
    tokens = iter(tokenise([t for texts in left.values() for t in texts]))
    references = {name: [next(tokens) for _ in texts] for name, texts in left.items()}
    whole, half = (
        {
            name: [text]
            for name, text in zip(
                references_of, tokenise(list(references_of.values())), strict=True
            )
        }
        for references_of in (said, halves)
    )
    for cell, texts in zip(scores, (whole, half), strict=True):
        bleu, _ = PublishedBleu(4).compute_score(references, texts, verbose=0)
        assert cell.corpus["BLEU-4"] == pytest.approx(100 * bleu[3], abs=1e-9)
        for name, tool in {"ROUGE-L": PublishedRouge(), "CIDEr": PublishedCider()}.items():
            score, _ = tool.compute_score(references, texts)
            assert cell.corpus[name] == pytest.approx(100 * score, abs=1e-9)
    count = len(left[data.items[0].id])
    assert {cell.signature.per_image for cell in scores} == {str(count)}
    assert {cell.signature.idf for cell in scores} == {scorer.idf}
    wanted = {"rotating": "rotating", 2: "caption 2"}[caption] if reading == "others" else "none"
    assert {cell.signature.left_out for cell in scores} == {wanted}


def test_rotation_takes_every_caption_as_often_and_no_other_item_moves_it(scenes: Dataset) -> None:
    chosen = Counter(item.chosen("rotating") for item in scenes.items)
    # 200 fair draws among 5: outside of this in one of 10,000 datasets.
    assert set(chosen) == set(range(5))
    assert all(18 <= times <= 64 for times in chosen.values())
    item = scenes.items[0]
    only = [2, 4]
    spoken = tuple(
        caption if n in only else replace(caption, speech=None)
        for n, caption in enumerate(item.captions)
    )
    assert {Item(str(n), item.image, spoken).chosen("rotating") for n in range(50)} == set(only)
    # Without any recording, captions with units are taken.
    encoded = tuple(
        replace(caption, speech=None, units=caption.units if n in only else None)
        for n, caption in enumerate(item.captions)
    )
    assert {Item(str(n), item.image, encoded).chosen("rotating") for n in range(50)} == set(only)
    silent = tuple(replace(caption, speech=None, units=None) for caption in item.captions)
    several = {Item(str(n), item.image, silent).chosen("rotating") for n in range(50)}
    assert several == set(range(5))


def test_an_image_with_one_caption_is_told_before_anything_runs() -> None:
    items = [Item("two", Path("a"), (Caption("x"), Caption("y"))), Item("b", Path("b"), ())]
    items += [Item("one", Path("a"), (Caption("x"),))]
    check_references(items[:1], "rotating", ["others"])
    check_references(items, "rotating", ["all"])
    with pytest.raises(UserError, match=r"2 of 3 items have no second .*first: b; write"):
        check_references(items, "rotating", ["all", "others"])
    with pytest.raises(UserError, match="first: one"):
        check_references(items[2:], 0, ["others"])


@pytest.mark.parametrize(("share", "words"), [(0.5, "a b c"), (0.2, "a"), (0.81, "a b c d e")])
def test_a_share_of_a_caption_is_rounded_up_to_words(share: float, words: str) -> None:
    item = Item("a", Path("a"), (Caption("a b c d e"),))
    assert CopiedSystem(kind="copied", share=share).transcript(item, 0) == words
