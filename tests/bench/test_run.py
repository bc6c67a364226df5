"""A whole run with real parts: images in, tables out, resumed, and refused where it must be."""

import json
import os
import shutil
from pathlib import Path

import polars as pl
import pytest
import soundfile
import yaml

from bench.cli import main
from bench.store.costs import read_costs
from bench.store.ledger import Ledger

pytestmark = pytest.mark.slow


def _job(tmp_path: Path, root: Path, **changes: object) -> Path:
    content = {
        "name": "trial",
        "dataset": {"name": "flickr8k", "root": str(root), "audio": str(root / "flickr_audio")},
        "systems": [
            {"kind": "recorded"},
            {
                "kind": "pixvox",
                "label": "delay",
                "weights": "zoo:pixvox-tiny-delay",
                "prompts": [0, 0.5],
                "decoding": {"slots": 4, "max_seconds": 3},
            },
        ],
        "asr": {"batch": 2},
        "cluster": {"transcribers": 1, "latency_items": 3},
        "scoring": {"replicates": 100},
    }
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(content | changes))
    return path


def _snapshot(folder: Path) -> dict[Path, tuple[int, int]]:
    stats = {path: path.lstat() for path in folder.rglob("*")}
    return {path: (stat.st_mtime_ns, stat.st_size) for path, stat in stats.items()}


def _parts(run: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (run / "ledger").rglob("*.parquet")}


@pytest.fixture(scope="module")
def finished(flickr8k_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of the job, done in two goes."""
    runs = tmp_path_factory.mktemp("finished")
    job = _job(runs, flickr8k_folder)
    assert main(["run", str(job), "--runs", str(runs), "--limit", "2"]) == 0
    assert main(["run", str(job), "--runs", str(runs)]) == 0
    return runs / "trial"


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of that run, to be changed."""
    return Path(shutil.copytree(finished, tmp_path / "trial"))


def test_a_flickr8k_folder_from_images_to_tables(finished: Path) -> None:
    run = finished
    rows = pl.read_parquet(run / "rows.parquet")
    assert rows.height == 3 * 4
    # The missing image is a failed row of the model's cells, counted, with its reason.
    failed = rows.filter(pl.col("status") != "ok")
    assert failed["system"].to_list() == ["delay", "delay"]
    assert failed["reason"].str.contains("no such image").all()
    summary = json.loads((run / "summary.json").read_text())
    assert all(
        "|asr:openai-whisper@" in s for s in pl.read_parquet(run / "scores.parquet")["signature"]
    )
    assert [(c["n"], c["failed"]) for c in summary["cells"]] == [(4, 0), (4, 1), (4, 1)]
    recorded = rows.filter(pl.col("system") == "recorded speech")
    assert (recorded["BLEU-1"] > 10).all()
    assert len({cell["signature"]["idf"] for cell in summary["cells"]}) == 1
    assert {cell["signature"]["per_image"] for cell in summary["cells"]} == {"4"}
    prompted = rows.filter((pl.col("prompt") == 0.5) & (pl.col("status") == "ok"))
    assert (prompted["prompt_frames"] > 10).all()
    for wav in (run / "speech").rglob("*.wav"):
        assert soundfile.info(wav).duration > 0.1
    assert "measured, on flickr8k" in (run / "tables" / "table1.md").read_text()


def test_items_that_are_generated_alone_have_a_latency(finished: Path) -> None:
    costs = {(cost.speech_key, cost.stage): cost.cost for cost in read_costs(finished)}
    items = sorted(pl.read_parquet(finished / "rows.parquet")["item"].unique())
    for (_, stage), cost in costs.items():
        # The first of each speech in each run loads and compiles, and is left out.
        assert set(cost.alone) <= {items[1]}, stage
        assert all(0 < seconds < cost.seconds for seconds in cost.alone.values())
    # Those of the model, at both prompt shares; recordings are not timed.
    alone = [len(cost.alone) for (_, stage), cost in costs.items() if stage == "generating"]
    assert sorted(alone) == [0, 1, 1]
    table = (finished / "speed.md").read_text().splitlines()
    head, *rows = [line.strip("| ").split(" | ") for line in table if line.startswith("| ")]
    values = [dict(zip(head, row, strict=True)) for row in rows]
    assert [(row["system"], row["alone"], row["J an item"]) for row in values] == [
        ("delay", "1", "-")
    ] * 2
    assert all(row["latency p50"] == row["latency p95"] != "-" for row in values)


def test_a_second_run_computes_nothing_and_rescoring_needs_no_speech(
    flickr8k: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = _job(tmp_path, flickr8k)
    recorded = pl.read_parquet(run / "rows.parquet").filter(system="recorded speech")
    parts = _parts(run)
    table = (run / "tables" / "table2.csv").read_bytes()
    assert main(["run", str(job), "--runs", str(tmp_path)]) == 0
    assert "12 of 12 rows already there" in capsys.readouterr().out
    assert _parts(run) == parts
    assert table == (run / "tables" / "table2.csv").read_bytes()

    # Another way of scoring needs the transcripts only, and a further system's are not there.
    others = _job(tmp_path, flickr8k, scoring={"references": ["all", "others"], "replicates": 100})
    assert main(["rescore", str(others), "--runs", str(tmp_path)]) == 0
    # The reading that was the job's own has a table of its own now.
    assert table == (run / "tables" / "table2-others.csv").read_bytes()
    own = pl.read_parquet(run / "rows.parquet").filter(system="recorded speech")
    assert (own["BLEU-1"] > recorded["BLEU-1"]).all()
    assert _parts(run) == parts
    assert table != (run / "tables" / "table2.csv").read_bytes()

    more = _job(tmp_path, flickr8k, systems=[{"kind": "recorded"}], caption=1)
    assert main(["rescore", str(more), "--runs", str(tmp_path)]) == 2
    assert "4 rows are not transcribed yet; run first: pixvox run" in capsys.readouterr().err


def test_speech_is_reused_under_another_label(
    flickr8k: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    speech = {path.relative_to(run): path.read_bytes() for path in run.rglob("*.wav")}
    assert len(speech) == 10
    names = yaml.safe_load(_job(tmp_path, flickr8k).read_text())["systems"]
    names[1]["label"] = "renamed"
    job = _job(tmp_path, flickr8k, systems=names)
    # What was deleted is made again, the same.
    folder = sorted(path.parent for path in run.rglob("*.wav"))[-1]
    shutil.rmtree(folder)
    (sorted(run.rglob("*.wav"))[0]).unlink()
    assert main(["runs", "prune", "trial", "--runs", str(tmp_path)]) == 0
    assert main(["rescore", str(job), "--runs", str(tmp_path)]) == 0
    assert "missing speech files written again" in capsys.readouterr().out
    renamed = {
        str(path.relative_to(run)).replace("renamed-", "delay-"): path.read_bytes()
        for path in run.rglob("*.wav")
    }
    assert renamed == {str(path): data for path, data in speech.items()}
    assert main(["runs", "prune", "trial", "--runs", str(tmp_path)]) == 0
    assert len(list(run.rglob("*.wav"))) == len(speech)


def test_a_dry_run_and_a_refusal_change_nothing(
    flickr8k: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = _job(tmp_path, flickr8k)
    (part, *_) = sorted(path for path in _parts(run) if "transcribed" in str(path))
    part.write_bytes(part.read_bytes()[:-1])
    before = _snapshot(tmp_path)
    with Ledger(run / "ledger").lock():
        assert main(["run", str(job), "--runs", str(tmp_path), "--dry-run"]) == 0
        assert main(["run", str(job), "--runs", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert "1 part is damaged; a run sets it aside" in said.out
    assert f"another pixvox (process {os.getpid()}) is writing here" in said.err
    assert _snapshot(tmp_path) == before
    (run / "cache" / "link").symlink_to(tmp_path)
    before = _snapshot(tmp_path)
    for command in (["run"], ["run", "--dry-run"], ["rescore"]):
        assert main([*command, str(job), "--runs", str(tmp_path)]) == 2
        assert "link: a link inside a run" in capsys.readouterr().err
    assert _snapshot(tmp_path) == before
    (run / "cache" / "link").unlink()

    assert main(["run", str(job), "--runs", str(tmp_path / "none"), "--dry-run"]) == 0
    assert not (tmp_path / "none").exists()


def _refused(job: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["run", str(job), "--runs", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def _edit(weights: Path, **changes: object) -> dict[str, object]:
    config = weights / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | changes))
    return {"kind": "pixvox", "label": "spoilt", "weights": str(weights)}


def test_another_codebook_count_is_refused(
    flickr8k: Path, tmp_path: Path, copy_of_zoo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    system = _edit(copy_of_zoo, num_codebooks=8)
    error = _refused(_job(tmp_path, flickr8k, systems=[system]), tmp_path, capsys)
    assert "8 codebooks, but zoo:encodec-tiny has 4 at 1.6 kbps" in error


def test_an_unknown_pattern_is_refused(
    flickr8k: Path, tmp_path: Path, copy_of_zoo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    system = _edit(copy_of_zoo, pattern="zigzag")
    error = _refused(_job(tmp_path, flickr8k, systems=[system]), tmp_path, capsys)
    assert "'zigzag'" in error
    assert "parallel, delay" in error


def test_a_pattern_that_was_not_trained_is_refused(
    flickr8k: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = "zoo:pixvox-tiny-delay"
    system = {"kind": "pixvox", "label": "x", "weights": weights, "pattern": "parallel"}
    error = _refused(_job(tmp_path, flickr8k, systems=[system]), tmp_path, capsys)
    assert "trained on the pattern 'delay', the job asks for 'parallel'" in error
