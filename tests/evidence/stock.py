"""Scores of captions as text by the suite, compared with stock pycocoevalcap used directly.

For both sets of references: the caption that is left out, and its first half. The direct run
chooses captions and references by itself, and passes the tokens to pycocoevalcap's scorers.
"""

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.commands.options import Parser, path
from bench.common.machine import save as save_figures
from bench.common.yamlfile import parse
from bench.datasets.base import Dataset
from bench.datasets.loading import load_dataset
from bench.datasets.scenes.load import load_scenes
from bench.jobs.spec import Job, Reading, ScoringSpec
from bench.metrics.base import ALWAYS
from bench.metrics.shipped import METRICS, scores_of
from bench.metrics.stock import stock_scores
from bench.metrics.tokens import tokenise
from bench.scoring.scorer import Scorer
from bench.systems.copied import CopiedSystem
from bench.systems.text import TextSystem
from tests.evidence.program import program

Texts = Mapping[str, str]
READINGS: tuple[Reading, ...] = ("others", "all")


def _by_hand(dataset: Dataset, reading: Reading) -> tuple[dict[str, list[str]], dict[str, Texts]]:
    """Returns references and texts, with no code of the suite except its tokeniser."""
    references, whole, half = {}, {}, {}
    for item in dataset.items:
        texts = [caption.text for caption in item.captions]
        drawn = int(hashlib.sha256(item.id.encode()).hexdigest()[:16], 16)
        recorded = [n for n, c in enumerate(item.captions) if c.speech]
        encoded = [n for n, c in enumerate(item.captions) if c.units]
        spoken = recorded or encoded or list(range(len(texts)))
        number = spoken[drawn % len(spoken)]
        words = texts[number].split()
        left = [text for n, text in enumerate(texts) if n != number or reading == "all"]
        whole[item.id], half[item.id] = texts[number], " ".join(words[: (len(words) + 1) // 2])
        references[item.id] = left
    flat = iter(tokenise([text for texts in references.values() for text in texts]))
    tokens = {name: [next(flat) for _ in texts] for name, texts in references.items()}
    named = {"text": whole, "copied": half}
    return tokens, {
        label: dict(zip(texts, tokenise(list(texts.values())), strict=True))
        for label, texts in named.items()
    }


def measure(dataset: Dataset) -> list[dict[str, Any]]:
    """Returns a row for each set of references and text: our scores, and the largest difference."""
    systems = {"text": TextSystem(kind="text"), "copied": CopiedSystem(kind="copied", share=0.5)}
    rows = []
    for reading in READINGS:
        references, texts = _by_hand(dataset, reading)
        spec = ScoringSpec(references=reading)
        with tempfile.TemporaryDirectory() as name, Scorer(dataset, spec, {}, Path(name)) as scorer:
            for label, system in systems.items():
                said = [system.transcript(i, i.chosen("rotating")) for i in dataset.items]
                tokens = scorer.tokens(said)
                ids = [item.id for item in dataset.items]
                ours = scorer.counted(dict(zip(ids, tokens, strict=True))).corpus()
                theirs = stock_scores(references, texts[label])
                off = max(abs(float(ours[metric]) - theirs[metric]) for metric in theirs)
                scores = {metric: round(float(score), 4) for metric, score in ours.items()}
                rows.append({"references": reading, "says": label, **scores, "off by": off})
    return rows


def run(job: Path | None, save: Path | None) -> int:
    """Prints the scores and the largest difference, and saves them if asked."""
    dataset = load_scenes(None) if job is None else load_dataset(parse(job, Job).dataset)
    rows = measure(dataset)
    shown = {score.name for score in scores_of(METRICS) if score.display_priority == ALWAYS}
    for row in rows:
        said = ", ".join(f"{k} {v:.2f}" for k, v in row.items() if k in shown)
        print(f"{row['references']}, {row['says']}: {said}; off by {row['off by']:.1e}")
    facts = {"captions": dataset.name, "images": len(dataset.items), "digest": dataset.digest}
    save_figures(facts | {"rows": rows}, save)
    return 0


def main(words: Sequence[str]) -> int:
    """Measures what the command line asks for; the exit code."""
    parser = Parser(
        prog="python -m tests.evidence.stock",
        description="Texts, scored by us and by stock pycocoevalcap.",
    )
    parser.add_argument("--job", type=path, help="a job whose captions are taken; else scenes")
    parser.add_argument("--save", type=path, help="write the figures as JSON")
    given = parser.parse_args(words)
    return run(given.job, given.save)


if __name__ == "__main__":
    program(main)
