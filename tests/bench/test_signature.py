"""A change that shifts scores bumps the version, which every signature holds (STYLE, section 6)."""

import hashlib
import io
import json
import re
import tomllib
from pathlib import Path

import numpy as np
import polars as pl
import soundfile

from bench.metrics.loading import metrics_text
from bench.metrics.normalise import normaliser
from bench.metrics.shipped import METRICS
from bench.metrics.tokens import tokenise
from bench.scoring.signature import POLICIES, TOKENISER
from bench.scoring.taxonomy import kinds
from pixvox.speechfile import SpeechError, read_speech

ROOT = Path(__file__).parents[2]
FROZEN = ("0.2.0", "696359b8e2a90e18")
"""The version, and the digest of what this version makes of a few texts and files."""
TEXTS = {
    "a": ("Two dogs run, on plan b.", "two dogs run on plan b", "Dogs are running."),
    "b": ("1, 2, 3; it's 10 p.m.", "one two three", "it is ten at night in the U.S."),
    "c": ("", "a man with a hat", "the man's hat"),
    "d": ("the the the the", "der Hund läuft", "собака бежит etc."),
}
"""Item → its transcript and two references."""


def _heard(folder: Path) -> list[int | None]:
    """How many samples are read of a whole, a cut, a joined and an unknown file; None for none."""
    data = io.BytesIO()
    soundfile.write(data, np.full(800, 0.5, np.float32), 8000, format="WAV", subtype="PCM_16")
    whole, path = data.getvalue(), folder / "speech.wav"
    values: list[int | None] = []
    for content in (whole, whole[:-800], whole + whole, whole[8:]):
        path.write_bytes(content)
        try:
            values.append(len(read_speech(path, 16_000)))
        except SpeechError:
            values.append(None)
    return values


def _content(folder: Path) -> dict[str, object]:
    """What scores and signatures are made of, for the texts; METEOR's scores are its program's."""
    texts = [text for row in TEXTS.values() for text in row]
    words = iter(tokenise(texts))
    tokens = {item: [next(words) for _ in row] for item, row in TEXTS.items()}
    hypotheses = {item: row[0] for item, row in tokens.items()}
    references = {item: row[1:] for item, row in tokens.items()}
    scored = [m for m in METRICS if m.against == "references" and not m.waits]
    table = pl.DataFrame(
        {
            "transcript": [row[0] for row in TEXTS.values()],
            "status": ["ok", "ok", "ok", "failed"],
            "compression_ratio": [1.0, 1.0, 1.0, 1.0],
            "no_speech_prob": [0.0, 0.0, 0.0, 0.0],
            "avg_logprob": [0.0, 0.0, 0.0, 0.0],
            "peak": [0.5, 0.5, 0.5, 0.0],
            "seconds": [2.0, 2.0, 2.0, 0.0],
            "ended": [True, True, False, None],
        }
    )
    failures = kinds(table, pl.Series([5, 3, 3, 3]))
    return {
        "fields": list(POLICIES),
        "tokeniser": TOKENISER,
        "metrics": metrics_text(()),
        "tokens": tokens,
        "normalised": [normaliser("whisper")(text) for text in texts],
        "scores": [
            [round(float(x), 6) for x in m.score(m.statistics(hypotheses, references).sum(axis=0))]
            for m in scored
        ],
        "speech": _heard(folder),
        "failures": failures.to_dict(as_series=False),
    }


def test_what_makes_scores_is_that_of_this_version(tmp_path: Path) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    digest = hashlib.sha256(json.dumps(_content(tmp_path), sort_keys=True).encode()).hexdigest()[
        :16
    ]
    assert (version, digest) == FROZEN, (
        "scores or signatures changed: bump the version in pyproject.toml, open a dated section in "
        'CHANGELOG.md with "Scores shift: which, from, to, why", and freeze the pair here'
    )
    log = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## {re.escape(version)}, \d{{4}}-\d\d-\d\d$", log, re.MULTILINE), version
