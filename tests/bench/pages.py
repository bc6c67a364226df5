"""A finished run for tests of the page: rows that are said, not made, through the run's own store.

No model is loaded and no actor started; scoring, tables and speech files are the run's own.
"""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import yaml
from playwright.sync_api import Page

from bench.cli import main
from bench.common.jobfile import JobFile
from bench.execution.prepare import open_run, write_run_manifest
from bench.store.rows import MeasuredRow, SpeechRow, TranscriptRow

HOSTILE = "</script><img src=x onerror=alert(1)>\u202e\u2028{{7*7}}\x07"
"""In the ledger's transcripts as it stands, and, without what no label has, in a system's label."""
LABEL = "<b onclick=alert(2)>tiny</b>"
Opened = Callable[..., Page]
"""Opens a page's file at a place in it: see the fixture `show`."""
VIEWS = ("#/", "#/items", "#/item/test_00001", "#/compare", "#/listen")
"""Every kind of place on a page that has the item."""

ITEMS = 8

SYSTEMS: list[dict[str, Any]] = [
    {"kind": "text"},
    {"kind": "recorded"},
    {"kind": "resynthesis", "codec": "zoo:encodec-tiny", "bandwidth": 1.6},
    {
        "kind": "pixvox",
        "label": LABEL,
        "weights": "zoo:pixvox-tiny-parallel",
        "prompts": [0, 0.5],
    },
    {
        "kind": "pixvox",
        "label": "delay",
        "weights": "zoo:pixvox-tiny-delay",
        "prompts": [0, 0.5],
    },
    {"kind": "shuffled"},
]
_ASRS = [{"model": "tiny.en"}, {"backend": "openai-whisper", "beam_size": 2}]


def _tone(number: int, seconds: float) -> bytes:
    """A sound that can be told from every other, as FLAC."""
    time = np.arange(int(16_000 * seconds)) / 16_000
    wave = 0.4 * np.sin(2 * np.pi * (200 + 15 * number) * time) * np.exp(-time)
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, 16_000, format="FLAC")
    return buffer.getvalue()


def _said(captions: list[str], cell: int, number: int) -> str:
    """What a cell says of an item: some of a caption's words, each cell of others."""
    words = captions[(number + cell) % len(captions)].split()
    if cell == 3 and number == 1:
        return HOSTILE
    if cell == 3 and number == 2:
        return "nice " * 30
    if cell == 4 and number == 3:
        return ""
    transcript = [word for place, word in enumerate(words) if (place + number) % (cell + 2)]
    return " ".join([*transcript, *(["really"] if number % 3 == 0 else [])])


def finished_run(runs: Path, name: str, shift: int = 0, **changes: Any) -> Path:
    """A finished run of ITEMS scenes, seven systems and two ASRs; its folder.

    With another `shift` every cell says something else of each second item; `changes` are keys of
    the job. Audio metrics have measured the number of the speech and the item, then ones.
    """
    job = runs / f"{name}.yaml"
    runs.mkdir(exist_ok=True)
    content = {
        "name": name,
        "dataset": {"name": "scenes"},
        "limit": ITEMS,
        "systems": SYSTEMS,
        "asr": _ASRS,
        "scoring": {"replicates": 100},
        **changes,
    }
    job.write_text(yaml.safe_dump(content))
    with open_run(JobFile(job), runs) as ready:
        write_run_manifest(ready)
        done: dict[str, int] = {}
        for cell in (cell for cell in ready.cells if cell.source is None):
            state = ready.state
            if cell.asr is None:
                state.write_text(cell)
                continue
            speech, transcripts = [], []
            place = done.setdefault(cell.speech_key, len(done))
            first = cell.asr == ready.job.asrs[0]
            for number, item in enumerate(state.items):
                seconds = 3 + 0.05 * number
                speech.append(
                    SpeechRow(
                        item=item.id,
                        status="ok",
                        audio=_tone(10 * place + number, seconds),
                        caption=item.chosen(cell.caption),
                        ended=(place, number) != (2, 4),
                    )
                )
                captions = [caption.text for caption in item.captions]
                text = _said(captions, place + (shift if number % 2 else 0), number)
                if not first and number == 5:
                    text = "quite another thing altogether"
                transcripts.append(
                    TranscriptRow(
                        item=item.id,
                        status="ok",
                        reason="",
                        cause="",
                        transcript=text,
                        seconds=seconds,
                        peak=0.4,
                        no_speech_prob=0.01,
                        avg_logprob=-0.3,
                        compression_ratio=1.1,
                    )
                )
            if first:
                state.commit_speech(cell.speech_key, speech)
                for each in state.measurements:
                    ones = (1.0,) * (each.metric.values - 1)
                    rows = [
                        MeasuredRow(item=item.id, status="ok", values=(float(place + n), *ones))
                        for n, item in enumerate(state.items)
                    ]
                    state.commit_measured(cell, str(each.entry), rows)
            state.commit_transcripts(cell, transcripts)
    assert main(["rescore", str(job), "--runs", str(runs)]) == 0
    return runs / name
