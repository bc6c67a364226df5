"""`pixvox runs` on a ledger that the test writes, and the lock against a second driver."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cli import main
from bench.common.atomic import partial_of
from bench.common.errors import UserError
from bench.store.ledger import Ledger
from bench.store.manifest import ManifestCell, write_manifest
from bench.store.rows import GENERATED_SCHEMA, TRANSCRIBED_SCHEMA, SpeechRow, TranscriptRow, frame

CELL = ManifestCell(
    cell="delay-0-aaaaaaaa",
    system="delay",
    described=("seed 0",),
    prompt=0.0,
    asr="tiny",
    part="whole",
    speech_key="aaaaaaaabbbb",
    transcript_key="bbbb",
)
SPOKEN = [SpeechRow(item="1", status="ok"), SpeechRow(item="2", status="ok")]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    run = tmp_path / "runs" / "trial"
    ledger = Ledger(run / "ledger")
    ledger.append("generated", CELL.speech_key, frame(SPOKEN, GENERATED_SCHEMA))
    ledger.append(
        "transcribed", "bbbb", frame([TranscriptRow(item="1", status="ok")], TRANSCRIBED_SCHEMA)
    )
    ledger.append(
        "transcribed",
        "bbbb",
        frame([TranscriptRow(item="2", status="failed", reason="hiss")], TRANSCRIBED_SCHEMA),
    )
    ledger.append(
        "transcribed", "old0", frame([TranscriptRow(item="1", status="ok")], TRANSCRIBED_SCHEMA)
    )
    write_manifest(run, {}, [CELL])
    return run.parent


def _said(capsys: pytest.CaptureFixture[str], runs: Path, *words: str) -> tuple[int, str]:
    code = main(["runs", *words, "--runs", str(runs)])
    said = capsys.readouterr()
    return code, " ".join((said.out + said.err).split())


def test_a_run_is_listed_and_shown(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = _said(capsys, runs, "list")
    assert code == 0
    assert re.search(r"trial unfinished \d{4}-\d\d-\d\d \d\d:\d\d 1 2 1 0\.0", text)
    with Ledger(runs / "trial" / "ledger").lock():
        assert "trial running" in _said(capsys, runs, "list")[1]
    # A driver writes it when it comes to its end.
    (runs / "trial" / "summary.json").write_text("{}")
    assert "trial done" in _said(capsys, runs, "list")[1]
    assert "delay 0% aaaaaaaa 2 2 1" in _said(capsys, runs, "show", "trial")[1]
    code, text = _said(capsys, runs, "show", "tial")
    assert code == 2
    assert "no run 'tial'; there are: trial" in text


def test_cells_with_the_same_label_have_different_names(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    others = [{"described": ("seed 1",)}, {"part": "continuation"}]
    cells = [CELL, *(CELL.model_copy(update=other) for other in others)]
    write_manifest(runs / "trial", {}, cells)
    text = _said(capsys, runs, "show", "trial")[1]
    for name in ("delay, seed 0, whole", "delay, seed 1, whole", "delay, seed 0, continuation"):
        assert name in text


def test_verify_names_a_damaged_part(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _said(capsys, runs, "verify", "trial") == (0, "trial: 4 parts, 0 damaged")
    (part,) = (runs / "trial" / "ledger" / "generated").rglob("part-*.parquet")
    data = bytearray(part.read_bytes())
    data[-30] ^= 4
    part.write_bytes(data)
    code, text = _said(capsys, runs, "verify", "trial")
    # 1 is the gate's REGRESSED and nothing else.
    assert code == 3
    assert f"{part}: damaged" in text
    # Verifying changes nothing; only a driver sets a damaged part aside.
    assert part.exists()


def test_pruning_deletes_only_rows_that_the_job_does_not_need(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    remains = partial_of(runs / "trial" / "ledger" / "transcribed" / "bbbb" / "part-x.parquet")
    remains.write_bytes(b"half")
    assert _said(capsys, runs, "prune", "trial")[0] == 0
    assert not remains.exists()
    assert not (runs / "trial" / "ledger" / "transcribed" / "old0").exists()
    assert _said(capsys, runs, "verify", "trial") == (0, "trial: 3 parts, 0 damaged")


def test_other_files_in_a_ledger_are_reported_and_not_deleted(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = runs / "trial" / "ledger" / "transcribed" / "bbbb"
    (key / "part-x.parquet").mkdir()
    os.mkfifo(key / "notes")
    (runs / "trial" / "ledger" / "transcribed" / ".DS_Store").write_bytes(b"x")
    code, text = _said(capsys, runs, "verify", "trial")
    assert code == 0
    assert text.count("no part of a ledger; it is left alone") == 3
    for words in (["list"], ["show", "trial"], ["prune", "trial"]):
        assert _said(capsys, runs, *words)[0] == 0
    assert (key / "notes").exists()


@pytest.mark.parametrize(
    "where", ["ledger/transcribed/bbbb/x", "speech", "ledger/lock", "", "tables"]
)
@pytest.mark.parametrize("command", ["show", "verify", "prune"])
def test_a_link_inside_a_run_is_refused_and_its_target_unchanged(
    runs: Path, capsys: pytest.CaptureFixture[str], command: str, where: str
) -> None:
    outside = runs.parent / "outside"
    (outside / "old-0-99999999").mkdir(parents=True)
    for name in ("old-0-99999999/1.wav", ".0123456789abcdef.1.part", "lock"):
        (outside / name).write_text("somebody else's")
    link = runs / "trial" / where
    if not where:
        link.rename(runs / "moved")
    link.symlink_to(outside if where != "ledger/lock" else outside / "lock")
    before = sorted(runs.rglob("*"))
    code, text = _said(capsys, runs, command, "trial")
    assert code == 2
    assert text.startswith(f"pixvox: {link}: a link inside a run")
    assert sorted(runs.rglob("*")) == before
    assert all(p.read_text() == "somebody else's" for p in outside.rglob("*") if p.is_file())
    assert sum(p.is_file() for p in outside.rglob("*")) == 3


def test_the_folder_of_all_runs_may_be_a_link(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    link = runs.parent / "on-a-large-disk"
    link.symlink_to(runs)
    assert _said(capsys, link, "verify", "trial") == (0, "trial: 4 parts, 0 damaged")


def test_pruning_deletes_speech_by_its_key_and_no_other_files(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    speech = runs / "trial" / "speech"
    names = ["before-0-aaaaaaaa/1.wav", "old-0-99999999/1.wav", "old-0-99999999/notes.txt"]
    names += ["mine/1.wav"]
    for name in names:
        (speech / name).parent.mkdir(parents=True, exist_ok=True)
        (speech / name).write_bytes(b"sound")
    assert _said(capsys, runs, "prune", "trial")[0] == 0
    left = sorted(str(path.relative_to(speech)) for path in speech.rglob("*") if path.is_file())
    assert left == sorted(set(names) - {"old-0-99999999/1.wav"})


def test_an_edited_manifest_deletes_nothing(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = runs / "trial" / "run.json"
    path.write_text(path.read_text().replace(CELL.speech_key, "cccc"))
    before = sorted(runs.rglob("*"))
    code, text = _said(capsys, runs, "prune", "trial")
    assert code == 2
    assert "run.json: changed by hand" in text
    assert sorted(runs.rglob("*")) == before
    assert _said(capsys, runs, "verify", "trial")[0] == 3


def test_two_drivers_cannot_write_one_run(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from bench.store.ledger import Ledger\n"
        "with Ledger(Path(sys.argv[1])).lock():\n    print('held', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert other.stdout is not None
    assert other.stdout.readline() == b"held\n"
    with pytest.raises(UserError, match=f"process {other.pid}"), Ledger(tmp_path).lock():
        pass
    other.kill()
    other.wait()
    # However a driver ends, it leaves no stale lock behind.
    with Ledger(tmp_path).lock():
        pass
