"""Whatever users' files become: one clear line or a failed row, in time, and nothing else touched.

`pytest tests/faults/test_fuzz.py --fuzz-cases 50000 --fuzz-log results/fuzz/cases.json`
"""

import contextlib
import io
import json
import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile
import yaml
from fuzzing import NASTY, snapshot, spoilt_bytes, spoilt_folder, spoilt_value
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.cli import main
from bench.common.audio import SpeechError
from bench.common.errors import UserError
from bench.common.machine import save
from bench.datasets.base import Item
from bench.datasets.scenes.load import shipped_folder
from bench.execution.prepare import opened
from bench.store.rows import SpeechRow, ToTranscribe, TranscriptRow, packed
from bench.systems.base import Variant
from bench.systems.units import UnitsGenerator, UnitsSystem
from bench.systems.voice import Voice
from pixvox.codec.encodec import UnitsError

SHARES = {"jobs": 0.4, "datasets": 0.2, "runs": 0.15, "boards": 0.1, "units": 0.15}
HANG_SECONDS = 10
SYSTEMS: list[dict[str, Any]] = [
    {"kind": "text"},
    {"kind": "recorded", "caption": 1},
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
    "systems": [one for one in SYSTEMS if one["kind"] in _PLAIN],
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
    """Rows for all that the job asks, without any model, scored once; and another run beside it."""
    with opened(job, Path("runs"), None) as ready:
        for cell in ready.cells:
            made = {"units": {"units": packed(np.zeros((4, 9))), "codebooks": 4}}
            made["wavs"] = {"file": "test_00000.wav"}
            fields = made.get(cell.system.kind, {"caption": 0})
            generated = [SpeechRow(item.id, "ok", **fields) for item in ready.evaluation.items]
            rows = [
                TranscriptRow(item.id, "ok", transcript="a dog runs", seconds=1.0, peak=0.5)
                for item in ready.evaluation.items
            ]
            if cell.asr is not None:
                ready.evaluation.commit_speech(cell.speech_key, generated)
            ready.evaluation.commit_transcripts(cell, rows)
    assert main(["rescore", str(job), "--runs", "runs"]) == 0
    assert len(list(Path("runs/trial/speech").rglob("*.wav"))) == 6
    # METEOR's table is large and the tables are many; no command here reads them.
    for name in ("cache", "tables"):
        shutil.rmtree(f"runs/trial/{name}")
    shutil.copytree("runs/trial/ledger/transcribed", "runs/neighbour/ledger/transcribed")
    shutil.copy("runs/trial/run.json", "runs/neighbour")


class World:
    """Folders to spoil copies of, what may not change, and what came of every case."""

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
        """A new case with copies of what it is about and links to the rest."""
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
        """One command in this process; its code, after all that must hold has been checked."""
        errors = io.StringIO()
        started = time.monotonic()
        with (
            contextlib.redirect_stdout(io.StringIO()) as said,
            contextlib.redirect_stderr(errors),
            _in_time(),
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
        """Nothing outside of the case has changed, and nothing came up in it that no one named."""
        assert snapshot(self.outside) == self.before[self.outside]
        assert {path.name for path in self.case.iterdir()} <= {
            *self.names,
            "new.jsonl",
            "fuzzed.parquet",
        }

    def close(self) -> None:
        """What all cases had links to has not changed either."""
        assert snapshot(self.template) == self.before[self.template]


@contextlib.contextmanager
def _in_time() -> Iterator[None]:
    def late(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"no answer within {HANG_SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(HANG_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[World]:
    patch = pytest.MonkeyPatch()
    # Nothing is fetched: names that look like a hub's are refused at once.
    patch.setenv("HF_HUB_OFFLINE", "1")
    here = Path.cwd()
    made = World(tmp_path_factory.mktemp("fuzz"))
    yield made
    os.chdir(here)
    patch.undo()
    made.close()
    codes = {what: dict(sorted(found.items())) for what, found in made.codes.items()}
    cases = request.config.getoption("--fuzz-cases", default=2000)
    slowest = {what: round(seconds, 2) for what, seconds in made.slowest.items()}
    figures = {"cases": cases, "outcomes": codes, "slowest_seconds": slowest}
    save(figures, request.config.getoption("--fuzz-log", default=None))


def _each(request: pytest.FixtureRequest, what: str, case: Callable[[random.Random], None]) -> None:
    """Runs a case on as many random sources as are its share."""
    cases = request.config.getoption("--fuzz-cases", default=2000)

    @settings(
        max_examples=max(1, round(cases * SHARES[what])),
        deadline=None,
        derandomize=cases == 2000,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.randoms(use_true_random=True))
    def each(rng: random.Random) -> None:
        case(rng)

    each()


def test_job_files(world: World, request: pytest.FixtureRequest) -> None:
    whole = yaml.safe_dump(JOB, allow_unicode=True).encode()
    world.fresh()
    Path("job.yaml").unlink()
    Path("runs").unlink()

    def case(rng: random.Random) -> None:
        if rng.random() < 0.6:
            document = spoilt_value(JOB, rng)
            if isinstance(document.get("dataset"), dict) and rng.random() < 0.2:
                document["dataset"] = FLICKR8K
            data = yaml.safe_dump(document, allow_unicode=True).encode(errors="surrogatepass")
        else:
            data = spoilt_bytes(whole, rng)
        Path("job.yaml").write_bytes(data)
        world.run("jobs", "run", "job.yaml", "--dry-run", "--runs", "runs")
        world.check()

    _each(request, "jobs", case)


def test_dataset_folders(world: World, request: pytest.FixtureRequest) -> None:
    folders = {"scenes": SCENES, "flickr8k": FLICKR8K}

    def case(rng: random.Random) -> None:
        name = rng.choice(list(folders))
        spoilt = rng.choice((name, name, name, "wavs"))
        world.fresh(spoilt)
        Path("job.yaml").unlink()
        document = {**SMALL, "name": "other", "dataset": folders[name]}
        Path("job.yaml").write_text(yaml.safe_dump(document))
        texts = [p for p in Path(spoilt).rglob("*") if p.suffix in (".jsonl", ".txt")]
        if texts and rng.random() < 0.6:
            path = rng.choice(sorted(texts))
            path.write_bytes(spoilt_bytes(path.read_bytes(), rng))
        else:
            spoilt_folder(Path(spoilt), rng, world.outside)
        world.run("datasets", "run", "job.yaml", "--dry-run", "--runs", "none")
        world.check()

    _each(request, "datasets", case)


def test_runs(world: World, request: pytest.FixtureRequest) -> None:
    def case(rng: random.Random) -> None:
        world.fresh("runs")
        if rng.random() < 0.3:
            name = rng.choice(("runs/trial/run.json", "runs/trial/summary.json", "runs/rates.json"))
            path = Path(name)
            whole = json.loads(path.read_text()) if path.exists() else {"openai-whisper tiny.en": 1}
            data = json.dumps(spoilt_value(whole, rng), default=str).encode()
            path.write_bytes(data if rng.random() < 0.7 else spoilt_bytes(data, rng))
        else:
            spoilt_folder(Path("runs"), rng, world.outside)
        before, neighbour = snapshot(Path("runs")), snapshot(Path("runs/neighbour"))
        for what in (("list",), ("show", "trial"), ("verify", "trial")):
            world.run("runs", "runs", *what, "--runs", "runs", codes=(0, 2, 3))
        world.run("runs", "run", "job.yaml", "--dry-run", "--runs", "runs")
        board = ("--runs", "runs", "--board", "new.jsonl")
        world.run("runs", "leaderboard", "add", "trial", *board)
        assert snapshot(Path("runs")) == before
        world.run("runs", "runs", "prune", "trial", "--runs", "runs")
        assert snapshot(Path("runs/neighbour")) == neighbour
        world.run("runs", "run", "job.yaml", "--dry-run", "--runs", "runs")
        world.check()

    _each(request, "runs", case)


def test_boards(world: World, request: pytest.FixtureRequest) -> None:
    def case(rng: random.Random) -> None:
        world.fresh("board.jsonl")
        path = Path("board.jsonl")
        lines = path.read_text().splitlines()
        if rng.random() < 0.5:
            number = rng.randrange(len(lines))
            entry = spoilt_value(json.loads(lines[number]), rng)
            lines[number] = json.dumps(entry, default=str)
            path.write_text("\n".join(lines) + rng.choice(("", "\n")))
        else:
            path.write_bytes(spoilt_bytes(path.read_bytes(), rng))
        changed = path.read_bytes() != (world.template / "board.jsonl").read_bytes()
        board = ("--board", "board.jsonl")
        codes = [
            world.run("boards", "leaderboard", "verify", *board, codes=(0, 2, 3)),
            world.run("boards", "leaderboard", "show", *board),
            world.run("boards", "leaderboard", "add", "trial", "--runs", "runs", *board),
        ]
        # Only what is cut off at the end, or a last line break, may be missed.
        whole = (world.template / "board.jsonl").read_bytes()
        assert not changed or any(codes) or whole.startswith(path.read_bytes()[:-1])
        world.check()

    _each(request, "boards", case)


def _nasty_units(rng: random.Random) -> Any:
    """One item's units: numbers of any size and type, in any shape."""
    frames, codebooks = rng.choice((0, 1, 9, 9)), rng.choice((1, 3, 4, 4, 4, 4, 5))
    numbers = (0, 255, 256, -1, 2**15, -(2**63), 2**63 - 1, 2**16, None)
    if rng.random() < 0.6:
        numbers = (0, 1, 255)
    rows = [[rng.choice(numbers) for _ in range(frames)] for _ in range(codebooks)]
    if rng.random() < 0.2 and rows:
        rows[0] = rows[0][:-1]
    return rng.choice((rows, rows, rows, rows, rows, None, []))


def test_units(world: World, request: pytest.FixtureRequest) -> None:
    world.fresh()
    voice = Voice()
    item = Item("a", Path("none.png"), ())
    path = Path("fuzzed.parquet")
    spec = UnitsSystem.model_validate(SYSTEMS[8] | {"file": str(path)})
    variant = Variant("k", 0.0, spec)

    def case(rng: random.Random) -> None:
        what = rng.choice((0, 1, 2, 3, 3, 3, 3))
        if what == 0:
            path.write_bytes(spoilt_bytes((world.template / "units.parquet").read_bytes(), rng))
        elif what == 1:
            column = [rng.choice((1.5, 2.0, float("nan"), float("inf"), 1e300)) for _ in range(4)]
            pl.DataFrame({"item": ["a"], "units": [[column] * 4]}).write_parquet(path)
        elif what == 2:
            values = [rng.choice((rng.choice(NASTY[:22]), "text", b"bytes")) for _ in range(2)]
            frame = pl.DataFrame({"item": ["a", "b"], "units": [str(v) for v in values]})
            frame.rename({"units": rng.choice(("units", "unit"))}).write_parquet(path)
        else:
            schema = {"item": pl.String, "units": pl.List(pl.List(pl.Int64))}
            rows = {"item": ["a", "b"], "units": [_nasty_units(rng), [[0]] * 4]}
            pl.DataFrame(rows, schema=schema).write_parquet(path)
        outcome = "an ok row"
        with _in_time():
            try:
                ((_, row),) = UnitsGenerator(spec).generate([(item, (variant,))])
            except UserError:
                outcome = "one line"
            else:
                if row.status == "ok":
                    assert 0 <= row.array.min() <= row.array.max() < 2**15
                    with contextlib.suppress(SpeechError, UnitsError):
                        wave, _ = voice.speech(spec, ToTranscribe(row, item, None))
                        assert np.isfinite(wave).all()
                else:
                    assert row.reason
                    outcome = "a failed row"
        world.codes.setdefault("units", Counter())[outcome] += 1
        world.check()

    _each(request, "units", case)
