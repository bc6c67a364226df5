"""Damaged users' files give one clear line or a failed row, in time, and change nothing else.

`pytest tests/faults/test_fuzz.py --timeout 0 --fuzz-cases 50000 --fuzz-log results/fuzz/cases.json`
"""

import contextlib
import json
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from fuzzing import CASES, NASTY, snapshot, spoilt_bytes, spoilt_folder, spoilt_value
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from world import FLICKR8K, JOB, SCENES, SHARES, SMALL, SYSTEMS, World, in_time

from bench.common.audio import SpeechError
from bench.common.errors import UserError
from bench.common.machine import save
from bench.datasets.base import Item
from bench.store.rows import ToTranscribe
from bench.systems.base import Variant
from bench.systems.units import UnitsGenerator, UnitsSystem
from bench.systems.voice import Voice
from pixvox.errors import UnitsError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[World]:
    patch = pytest.MonkeyPatch()
    # Nothing is fetched: names that look like a hub's are refused at once.
    patch.setenv("HF_HUB_OFFLINE", "1")
    here = Path.cwd()
    world = World(tmp_path_factory.mktemp("fuzz"))
    yield world
    os.chdir(here)
    patch.undo()
    world.close()
    codes = {what: dict(sorted(counts.items())) for what, counts in world.codes.items()}
    cases = request.config.getoption("--fuzz-cases", default=CASES)
    slowest = {what: round(seconds, 2) for what, seconds in world.slowest.items()}
    figures = {"cases": cases, "outcomes": codes, "slowest_seconds": slowest}
    save(figures, request.config.getoption("--fuzz-log", default=None))


def _each(request: pytest.FixtureRequest, what: str, case: Callable[[random.Random], None]) -> None:
    """Runs a case on as many random sources as are its share."""
    cases = request.config.getoption("--fuzz-cases", default=CASES)

    @settings(
        max_examples=max(1, round(cases * SHARES[what])),
        deadline=None,
        derandomize=cases == CASES,
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
        spoilt, whole = path.read_bytes(), (world.template / "board.jsonl").read_bytes()
        board = ("--board", "board.jsonl")
        codes = [
            world.run("boards", "leaderboard", "verify", *board, codes=(0, 2, 3)),
            world.run("boards", "leaderboard", "show", *board),
            world.run("boards", "leaderboard", "add", "trial", "--runs", "runs", *board),
        ]
        # Only what is cut off at the end, or a last line break, may be missed.
        assert any(codes) or whole.startswith(spoilt[:-1]) or spoilt == whole
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
        with in_time():
            try:
                ((_, row),) = UnitsGenerator(spec).generate([(item, (variant,))])
            except UserError:
                outcome = "one line"
            else:
                if row.status == "ok":
                    assert 0 <= row.array.min() <= row.array.max() < 2**15
                    with contextlib.suppress(SpeechError, UnitsError):
                        wave, _ = voice.speech(spec, ToTranscribe(row=row, item=item))
                        assert np.isfinite(wave).all()
                else:
                    assert row.reason
                    outcome = "a failed row"
        world.codes.setdefault("units", Counter())[outcome] += 1
        world.check()

    _each(request, "units", case)
