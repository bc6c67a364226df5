"""The files that the fuzz test damages copies of: every kind of file that users give."""

import contextlib
import io
import json
import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import polars as pl
import soundfile
import yaml
from fuzzing import snapshot

from bench.cli import main
from bench.common.jobfile import JobFile
from bench.datasets.scenes.load import shipped_folder
from bench.execution.prepare import open_run
from bench.store.rows import SpeechRow, TranscriptRow, packed

SHARES = {"jobs": 0.4, "datasets": 0.2, "runs": 0.15, "boards": 0.1, "units": 0.15}
HANG_SECONDS = 10
SYSTEMS: list[dict[str, Any]] = [
    {"kind": "text"},
    {"kind": "recorded"},
    {"kind": "resynthesis", "codec": "zoo:encodec-tiny", "bandwidth": 1.6},
    {"kind": "silence", "seconds": 1.5},
    {"kind": "noise", "level": -20.0, "seed": 3},
    {"kind": "shuffled"},
    {"kind": "prompt", "codec": "zoo:encodec-tiny", "bandwidth": 1.6, "prompts": [0.25]},
    {"kind": "wavs", "label": "wavs", "folder": "wavs", "file": "{stem}.wav"},
    {"kind": "units", "label": "units", "file": "units.parquet", "codec": "zoo:encodec-tiny",
     "bandwidth": 1.6},
    {"kind": "python", "label": "mine", "entry": "json:JSONDecoder", "options": {"depth": 2}},
    {
        "kind": "pixvox",
        "label": "delay",
        "weights": "zoo:pixvox-tiny-delay",
        "prompts": [0, 0.5],
        "decoding": {"temperature": 0.5, "top_k": 10, "top_p": 0.9, "max_seconds": 3, "slots": 4},
    },
]  # fmt: skip
SCENES = {"name": "scenes", "folder": "scenes"}
FLICKR8K = {"name": "flickr8k", "root": "flickr8k", "audio": "flickr8k/audio"}
JOB: dict[str, Any] = {
    "name": "trial",
    "dataset": SCENES,
    "limit": 2,
    "systems": SYSTEMS,
    "grid": {"seed": [0, 1], "exclude": [{"system": "delay", "seed": 1, "prompt": 0.5}]},
    "asr": [{"model": "tiny.en", "batch": 2}, {"backend": "openai-whisper", "beam_size": 2}],
    "scoring": {"references": "others", "normaliser": ["none", "whisper"], "replicates": 100},
    "cluster": {"transcribers": 1, "deadline_seconds": 60},
    "tables": ["table1"],
}
_PLAIN = {"text", "recorded", "wavs", "units"}
SMALL = {
    **{key: JOB[key] for key in ("name", "dataset", "limit")},
    "systems": [system for system in SYSTEMS if system["kind"] in _PLAIN],
}


def _scenes(folder: Path) -> None:
    source = shipped_folder()
    lines = (source / "manifest.jsonl").read_text().splitlines()[:3]
    for row in map(json.loads, lines):
        for name in (row["image"], *(c["speech"] for c in row["captions"])):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / name, folder / name)
    (folder / "manifest.jsonl").write_text("".join(line + "\n" for line in lines))


def _flickr8k(folder: Path) -> None:
    (folder / "Images").mkdir(parents=True)
    (folder / "audio" / "wavs").mkdir(parents=True)
    captions, wavs = ["image,caption"], []
    for number in range(3):
        shutil.copy(
            shipped_folder() / f"images/test_0000{number}.png", folder / f"Images/{number}.jpg"
        )
        captions += [f'{number}.jpg,"A dog, number {k}, runs ."' for k in range(5)]
        soundfile.write(folder / f"audio/wavs/{number}_0.wav", np.full(8000, 0.1), 16_000)
        wavs.append(f"{number}_0.wav {number}.jpg #0")
    (folder / "captions.txt").write_text("\n".join(captions) + "\n")
    (folder / "audio" / "wav2capt.txt").write_text("\n".join(wavs) + "\n")
    (folder / "Flickr_8k.testImages.txt").write_text("0.jpg\n1.jpg\n2.jpg\n")


def _finished_run(job: Path) -> None:
    """Writes all rows of a job without a model and scores them; writes another run beside it."""
    with open_run(JobFile(job), Path("runs")) as ready:
        for cell in ready.cells:
            extra = {"units": {"units": packed(np.zeros((4, 9))), "codebooks": 4}}
            extra["wavs"] = {"file": "test_00000.wav"}
            fields = extra.get(cell.system.kind, {"caption": 0})
            generated = [
                SpeechRow(item=item.id, status="ok", **fields) for item in ready.state.items
            ]
            rows = [
                TranscriptRow(
                    item=item.id, status="ok", transcript="a dog runs", seconds=1.0, peak=0.5
                )
                for item in ready.state.items
            ]
            if cell.asr is not None:
                ready.state.commit_speech(cell.speech_key, generated)
            ready.state.commit_transcripts(cell, rows)
    assert main(["rescore", str(job), "--runs", "runs"]) == 0
    assert len(list(Path("runs/trial/speech").rglob("*.wav"))) == 6
    # METEOR's table is large and the tables are many; no command here reads them.
    for name in ("cache", "tables"):
        shutil.rmtree(f"runs/trial/{name}")
    shutil.copytree("runs/trial/ledger/transcribed", "runs/neighbour/ledger/transcribed")
    shutil.copy("runs/trial/run.json", "runs/neighbour")


class World:
    """The folders to copy, those that must not change, and the outcome of every case."""

    def __init__(self, root: Path) -> None:
        self.outside, self.template, self.case = (root / n for n in ("outside", "whole", "case"))
        # What a run would call its own and delete, if it came there by a link.
        part = f"part-{'0' * 32}"
        for name in (
            "kept.txt", "lock", f"deep/{part}.parquet", f"deep/{part}.damaged", "run.json",
            f"transcribed/deep/{part}.parquet", ".0123456789abcdef.1.part", "old-0-99999999/1.wav",
        ):  # fmt: skip
            (self.outside / name).parent.mkdir(parents=True, exist_ok=True)
            (self.outside / name).write_text("somebody else's")
        self.template.mkdir()
        os.chdir(self.template)
        _scenes(self.template / "scenes")
        _flickr8k(self.template / "flickr8k")
        (self.template / "wavs").mkdir()
        for number in range(3):
            soundfile.write(f"wavs/test_0000{number}.wav", np.full(4000, 0.1), 16_000)
        names = [f"test_0000{number}" for number in range(3)]
        units = [[[number] * 20] * 4 for number in range(3)]
        pl.DataFrame({"item": names, "units": units}).write_parquet("units.parquet")
        (self.template / "job.yaml").write_text(yaml.safe_dump(SMALL))
        _finished_run(Path("job.yaml"))
        assert (
            main(["leaderboard", "add", "trial", "--runs", "runs", "--board", "board.jsonl"]) == 0
        )
        self.before = {folder: snapshot(folder) for folder in (self.outside, self.template)}
        self.names = sorted(path.name for path in self.template.iterdir())
        self.codes: dict[str, Counter[str]] = {}
        self.slowest = dict.fromkeys(SHARES, 0.0)

    def fresh(self, *names: str) -> None:
        """Creates a case, with copies of the folders to damage and links to the rest."""
        os.chdir("/")
        if self.case.exists():
            shutil.rmtree(self.case)
        self.case.mkdir()
        os.chdir(self.case)
        for path in self.template.iterdir():
            if path.name not in names:
                Path(path.name).symlink_to(path)
            elif path.is_dir():
                shutil.copytree(path, path.name)
            else:
                shutil.copy(path, path.name)

    def run(self, what: str, *argv: str, codes: tuple[int, ...] = (0, 2)) -> int:
        """Runs a command in this process, checks its effects, and returns its exit code."""
        errors = io.StringIO()
        started = time.monotonic()
        with (
            contextlib.redirect_stdout(io.StringIO()) as said,
            contextlib.redirect_stderr(errors),
            in_time(),
        ):
            code = main(argv)
        self.slowest[what] = max(self.slowest[what], time.monotonic() - started)
        self.codes.setdefault(what, Counter())[f"exit {code}"] += 1
        text = errors.getvalue()
        assert "Traceback" not in text, text
        assert code in codes, (code, text)
        assert code != 2 or (text.startswith("pixvox: ") and len(text) < 5000), text
        for character in (*"\x00\x07\x1b\x9b\u202e\u2066",):
            assert character not in text + said.getvalue(), (character, text)
        return code

    def check(self) -> None:
        """Checks that nothing outside of the case changed, and that no unexpected file appeared."""
        assert snapshot(self.outside) == self.before[self.outside]
        assert {path.name for path in self.case.iterdir()} <= {
            *self.names,
            "new.jsonl",
            "fuzzed.parquet",
        }

    def close(self) -> None:
        """Checks that the folders which all cases link to have not changed."""
        assert snapshot(self.template) == self.before[self.template]


@contextlib.contextmanager
def in_time() -> Iterator[None]:
    """Fails a case that takes longer than HANG_SECONDS."""

    def late(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"no answer within {HANG_SECONDS} s")

    before, started = signal.signal(signal.SIGALRM, late), time.monotonic()
    # pytest-timeout has the same timer: what was left of it goes on afterwards.
    left, _ = signal.setitimer(signal.ITIMER_REAL, HANG_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if left:
            passed = time.monotonic() - started
            signal.setitimer(signal.ITIMER_REAL, max(left - passed, 0.001))
