"""Checks of the whole suite on a GPU: Whisper, and runs through Ray."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch

from bench.asr.base import SAMPLE_RATE
from bench.asr.whisper import WhisperAsr, WhisperTranscriber
from bench.common.audio import Wave, read_speech
from bench.common.errors import RunFailed
from bench.datasets.scenes.load import load_scenes
from bench.execution.stages import Pace, read_pace
from bench.perf.gpucourse import ZOO, Course, Finding, seconds_of

RUN_SECONDS = 200.0
"""A run that takes longer is ended."""


def _recordings(count: int) -> list[Wave]:
    files = [
        caption.speech
        for item in load_scenes(None).items
        for caption in item.captions
        if caption.speech is not None
    ]
    return [read_speech(path, SAMPLE_RATE) for path in files[:count]]


def _texts(asr: WhisperTranscriber, waves: Sequence[Wave], batch: int) -> list[str]:
    """Transcripts in groups of `batch`, the last one filled up as a run does."""
    texts: list[str] = []
    for start in range(0, len(waves), batch):
        group = waves[start : start + batch]
        results = asr.transcribe([*group, *[group[0]] * (batch - len(group))])
        texts += [result.transcript for result in results[: len(group)]]
    return texts


def check_whisper(course: Course) -> Finding:
    """Whisper tiny.en's transcripts of recordings on the device beside the CPU's, by batch."""
    waves = _recordings(course.clips)
    device, count = str(course.device), min(8, len(waves))
    wanted = _texts(WhisperTranscriber(WhisperAsr(), "cpu"), waves[:count], count)
    figures = {}
    for batch in course.at_once:
        here = WhisperTranscriber(WhisperAsr(batch=batch), device)
        texts = _texts(here, waves, batch)
        if course.on_gpu:
            torch.cuda.reset_peak_memory_stats(course.device)
        seconds = seconds_of(course, partial(_texts, here, waves, batch))
        figures[batch] = {
            "equal": sum(a == b for a, b in zip(texts, wanted, strict=False)),
            "clips a second": len(waves) / seconds,
            "peak GB": torch.cuda.max_memory_allocated(course.device) / 1e9
            if course.on_gpu
            else None,
        }
    words = "; ".join(
        f"{batch} at once: {row['equal']} of {count} transcripts equal the CPU's, "
        f"{row['clips a second']:.1f} clips a second"
        for batch, row in figures.items()
    )
    usual = WhisperTranscriber(WhisperAsr(), device).batch
    holds = all(row["equal"] == count for row in figures.values())
    return Finding(f"{words}; {usual} at once here by default", holds, {"batches": figures})


def check_run(course: Course) -> Finding:
    """Whole runs: images, decoding, codec and Whisper; rows a second and every stage's duty."""
    paces = {actors: _pace_of_run(course.items, actors) for actors in course.actors}
    words = "; ".join(
        f"actors of each kind: {actors}: {pace.words}" for actors, pace in paces.items()
    )
    return Finding(words, figures={str(actors): asdict(pace) for actors, pace in paces.items()})


def _pace_of_run(items: int, actors: int) -> Pace:
    """The pace of a run in a process of its own; raises RunFailed."""
    job = {
        "name": "gpu",
        "dataset": {"name": "scenes"},
        "limit": items,
        "systems": [{"kind": "pixvox", "label": "delay", "weights": ZOO}],
        "cluster": {"generators": actors, "transcribers": actors},
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gpu.yaml"
        path.write_text(json.dumps(job))
        command = [sys.executable, "-m", "bench.cli", "run", str(path), "--runs", folder]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=RUN_SECONDS, check=False
        )
        if done.returncode:
            raise RunFailed(f"the run ended with {done.returncode}: {done.stderr[-300:]}")
        pace = next(filter(None, map(read_pace, Path(folder).glob("*"))), None)
    if pace is None:
        raise RunFailed("the run left no pace.json")
    return pace
