"""What a run depends on changes: new cells, nothing mixed, nothing done twice."""

import json
from pathlib import Path

import polars as pl
import pytest
import yaml
from safetensors.torch import load_file, save_file

from bench.cli import main
from bench.store.manifest import read_manifest

pytestmark = [pytest.mark.slow, pytest.mark.evidence]


class _Run:
    """One job that is changed and run again."""

    def __init__(self, folder: Path, root: Path, weights: Path) -> None:
        self.folder = folder
        self.content = {
            "name": "trial",
            "dataset": {"name": "flickr8k", "root": str(root), "audio": str(root / "flickr_audio")},
            "systems": [
                {"kind": "recorded"},
                {
                    "kind": "pixvox",
                    "label": "delay",
                    "weights": str(weights),
                    "decoding": {"max_seconds": 3},
                },
            ],
            "asr": {"batch": 2},
            "limit": 2,
            "cluster": {"transcribers": 1},
            "scoring": {"replicates": 100},
        }

    def __call__(self, **changes: object) -> str:
        path = self.folder / "job.yaml"
        path.write_text(yaml.safe_dump(self.content | changes))
        assert main(["run", str(path), "--runs", str(self.folder)]) == 0
        return str(path)

    def parts(self, stage: str) -> set[Path]:
        return set((self.folder / "trial" / "ledger" / stage).rglob("part-*.parquet"))

    def key(self, system: str) -> str:
        """The key of the system's first transcripts."""
        manifest = read_manifest(self.folder / "trial")
        assert manifest is not None
        return next(cell.transcript_key for cell in manifest.cells if cell.system == system)

    def rows(self) -> pl.DataFrame:
        return pl.read_parquet(self.folder / "trial" / "rows.parquet")


def test_nothing_is_mixed_and_nothing_is_done_twice(
    flickr8k: Path, tmp_path: Path, copy_of_zoo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = _Run(tmp_path, flickr8k, copy_of_zoo)
    run()
    first, generated, transcribed = run.rows(), run.parts("generated"), run.parts("transcribed")
    capsys.readouterr()

    # A flipped byte is found, named, and its rows made again: the same ones. Another ASR
    # transcribes the speech that is there: a new cell, and says so. Other weights at the same path
    # are another system, whose speech is not.
    recorded = run.key("recorded speech")
    (damaged,) = (part for part in transcribed if part.parent.name == recorded)
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    tensors = load_file(copy_of_zoo / "model.safetensors")
    name = next(name for name in tensors if name.startswith("heads."))
    tensors[name] = -tensors[name]
    save_file(tensors, copy_of_zoo / "model.safetensors", {"format": "pt"})
    run(asr=[{"batch": 2}, {"batch": 2, "beam_size": 2}])
    said = capsys.readouterr().out
    assert f"{damaged}: damaged; set aside" in said
    assert said.count("a new cell") == 3
    assert said.count("its speech is there already") == 1
    assert generated < run.parts("generated")
    assert transcribed < run.parts("transcribed")
    summary = json.loads((tmp_path / "trial" / "summary.json").read_text())
    assert len(summary["cells"]) == 4
    changed = run.rows()
    same = changed.filter(pl.col("cell").is_in(first["cell"].unique().implode()))
    assert same.equals(first.filter(system="recorded speech"))
    cells = [frame.filter(system="delay")["cell"].unique().to_list() for frame in (first, changed)]
    assert len(cells[1]) == 2
    assert set(changed["status"]) == {"ok"}
    assert not set(cells[0]) & set(cells[1])
