"""Systems beside PixVoxLM: files, floors, ceilings and classes of the user's own get rows."""

import json
from pathlib import Path

import polars as pl
import pytest
import soundfile
import yaml

from bench.cli import main
from bench.common.audio import read_speech, resample
from bench.common.errors import UserError
from bench.datasets.base import Dataset, Item
from bench.jobs.grid import Grid, variants
from bench.systems.base import Variant
from bench.systems.pixvox import DecodingSpec, PixVoxSystem
from bench.systems.pixvoxgenerator import PixVoxGenerator
from bench.systems.shuffled import shuffled
from bench.systems.wavs import WavsSystem, wav_files

pytestmark = pytest.mark.slow

PLUGIN = """
import numpy as np
class Hum:
    def __init__(self, device, pitch):
        self.pitch = pitch
    def generate(self, image, item):
        if item.endswith("03_693b08cb0e"):
            raise FileNotFoundError(image.name)
        return np.sin(np.arange(8000) * self.pitch), 8000
"""


def _wavs(folder: Path, scenes: Dataset, stems: list[str]) -> None:
    """The speech of four items: whole, at 8 kHz and stereo, empty, missing."""
    folder.mkdir()
    waves = [read_speech(i.captions[0].speech, 16_000) for i in scenes.items[:2]]  # type: ignore[arg-type]
    soundfile.write(folder / f"{stems[0]}.wav", waves[0], 16_000)
    slow = resample(waves[1], 16_000, 8000)
    soundfile.write(folder / f"{stems[1]}.wav", [[s, s] for s in slow], 8000)
    (folder / f"{stems[2]}.wav").touch()


@pytest.fixture
def job(flickr8k: Path, tmp_path: Path, scenes: Dataset, monkeypatch: pytest.MonkeyPatch) -> Path:
    stems = [f"10002682{index:02d}_693b08cb0e" for index in range(4)]
    _wavs(tmp_path / "made", scenes, stems)
    units = [[[1, 2, 3] * 20] * 4, [[0] * 60] * 4, [[999] * 60] * 4]
    pl.DataFrame({"item": stems[:3], "units": units}).write_parquet(tmp_path / "units.parquet")
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "humming.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "code"))
    codec = {"codec": "zoo:encodec-tiny", "bandwidth": 1.6}
    content = {
        "name": "systems",
        "dataset": {"name": "flickr8k", "root": str(flickr8k), "audio": f"{flickr8k}/flickr_audio"},
        "systems": [
            {"kind": "text"},
            {"kind": "silence", "seconds": 1},
            {"kind": "shuffled"},
            {"kind": "prompt", "prompts": [0.5], **codec},
            {"kind": "wavs", "label": "SAT", "folder": str(tmp_path / "made")},
            {"kind": "units", "label": "units", "file": str(tmp_path / "units.parquet"), **codec},
            {"kind": "python", "label": "hum", "entry": "humming:Hum", "options": {"pitch": 0.1}},
        ],
        "asr": {"batch": 2, "window": "adaptive"},
        "cluster": {"transcribers": 1},
    }
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_every_kind_of_system_gets_rows(job: Path, tmp_path: Path, scenes: Dataset) -> None:
    assert main(["run", str(job), "--runs", str(tmp_path)]) == 0
    run = tmp_path / "systems"
    cells = {c["system"]: c for c in json.loads((run / "summary.json").read_text())["cells"]}
    failed = {name: (cell["n"], cell["failed"]) for name, cell in cells.items()}
    assert failed == {
        "reference text": (4, 0),
        "silence": (4, 0),
        "shuffled speech": (4, 0),
        "prompt copied": (4, 0),
        "SAT": (4, 2),
        "units": (4, 2),
        "hum": (4, 1),
    }
    rows = pl.read_parquet(run / "rows.parquet")
    reasons = rows.filter(status="failed").sort("system", "item").select("system", "reason")
    wanted = ["not readable", "no such file", "FileNotFoundError", "999", "no units for this item"]
    said = " ".join(reasons["reason"])
    assert all(text in said for text in wanted), said
    # A folder of files is transcribed at any rate: what was said is what is transcribed.
    good = rows.filter(system="SAT", status="ok").sort("item")
    for text, item in zip(good["transcript"], scenes.items[:2], strict=True):
        assert len(set(text.lower().strip(".").split()) & set(item.captions[0].text.split())) >= 4
    # A caption beside the others is no perfect score, and shuffled speech is a poor one.
    bleu = {name: cell["scores"]["BLEU-1"]["score"] for name, cell in cells.items()}
    assert 20 < bleu["reference text"] < 99
    assert bleu["shuffled speech"] < bleu["reference text"]
    assert cells["silence"]["kinds"]["silent"] == 1


def test_a_lone_caption_cannot_be_scored_against_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "Images").mkdir()
    (tmp_path / "Flickr8k.token.txt").write_text("a.jpg#0\tA dog runs .\n")
    (tmp_path / "Flickr_8k.testImages.txt").write_text("a.jpg\n")
    dataset = {"name": "flickr8k", "root": str(tmp_path)}
    job = tmp_path / "job.yaml"
    job.write_text(
        yaml.safe_dump({"name": "lone", "dataset": dataset, "systems": [{"kind": "text"}]})
    )
    assert main(["run", str(job), "--runs", str(tmp_path / "runs")]) == 2
    error = capsys.readouterr().err
    assert "pixvox: 1 of 1 items have no second caption, so no reference is left" in error
    assert "Traceback" not in error


def test_a_file_s_name_cannot_lead_out_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "wavs").mkdir()
    mapping = tmp_path / "map.csv"
    mapping.write_text("item,file\na,../../etc/passwd\n")
    spec = WavsSystem(kind="wavs", label="x", folder=tmp_path / "wavs", mapping=mapping)
    with pytest.raises(UserError, match="leads out of its folder"):
        wav_files(spec, [Item("a", Path("a.jpg"), ())])


def test_no_item_keeps_its_own_speech(scenes: Dataset) -> None:
    others = shuffled(scenes.items, 0)
    assert others.keys() == {item.id for item in scenes.items}
    assert all(others[item.id].captions != item.captions for item in scenes.items)
    assert others != shuffled(scenes.items, 1)


def test_an_image_is_encoded_once_for_all_its_variants(scenes: Dataset) -> None:
    spec = PixVoxSystem(kind="pixvox", label="delay", weights="zoo:pixvox-tiny-delay")
    decoding = DecodingSpec(temperature=0.7, slots=4, max_seconds=5)
    asked = spec.model_copy(update={"decoding": decoding})
    generator = spec.generator("cpu")
    assert isinstance(generator, PixVoxGenerator)
    variants = tuple(
        Variant(f"{seed}/{prompt}", prompt, asked.at({"seed": seed}))
        for seed in (0, 1)
        for prompt in (0.0, 0.25)
    )
    together = generator.generate([(item, variants) for item in scenes.items[:2]])
    assert generator.encoded == 2
    assert len(generator.engines) == 1
    alone = spec.generator("cpu").generate([(scenes.items[1], variants[3:])])
    assert alone == together[-1:]
    assert len({row.units for _, row in together}) == 8


def test_a_sweep_does_what_its_dry_run_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    zoo = [
        {"kind": "pixvox", "label": name, "weights": f"zoo:pixvox-tiny-{name}", "decoding": short}
        for short in [{"slots": 4, "max_seconds": 2}]
        for name in ("delay", "parallel")
    ]
    content = {
        "name": "sweep",
        "dataset": {"name": "scenes"},
        "limit": 1,
        "systems": zoo,
        "grid": {"prompt": [0, 0.25], "seed": [0, 1], "temperature": [[0.5, 0.5, 1, 1]]},
        "asr": [
            {"batch": 1, "window": "adaptive"},
            {"batch": 1, "model": "tiny.en", "backend": "faster-whisper"},
        ],
        "cluster": {"generators": 1, "transcribers": 1},
    }
    job = tmp_path / "job.yaml"
    job.write_text(yaml.safe_dump(content))
    command = ["run", str(job), "--runs", str(tmp_path)]
    assert main([*command, "--dry-run"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "16 cells, 8 speeches of 1 image: 8 to generate, 16 to transcribe" in said
    assert not (tmp_path / "sweep" / "run.json").exists()
    assert main(command) == 0
    ledger = tmp_path / "sweep" / "ledger"
    assert len(list((ledger / "generated").iterdir())) == 8
    assert len(list((ledger / "transcribed").iterdir())) == 16
    capsys.readouterr()
    assert main([*command, "--dry-run"]) == 0
    assert "0 to generate, 0 to transcribe" in " ".join(capsys.readouterr().out.split())
    tidy = pl.read_parquet(tmp_path / "sweep" / "scores.parquet")
    assert tidy.select("system", "prompt", "seed", "asr").n_unique() == 16
    assert set(tidy["per_codebook"]) == {"temperature 0.5 0.5 1 1"}
    tables = tmp_path / "sweep" / "tables"
    assert "<svg" in (tables / "sweep.svg").read_text()
    # Every speech was transcribed by both ASRs, whose comparisons are held against each other.
    audit = pl.read_parquet(tables / "audit-items.parquet")
    assert (audit.height, set(audit["asr"]), set(audit["other"])) == (
        8,
        {"openai-whisper tiny.en"},
        {"faster-whisper tiny.en"},
    )
    assert pl.read_parquet(tables / "audit.parquet")["n"].sum() == 8
    assert pl.read_parquet(tables / "audit-tests.parquet").height > 0
    # Two seeds of one system are one row of the table, its images kept together.
    table = pl.read_parquet(tables / "table1.parquet").filter(block="measured")
    assert table["seeds"].to_list() == [2, 2]

    # One more prompt share is all that is done again, and an exclusion is left out.
    grid = {"prompt": [0, 0.25, 0.5], "seed": [0, 1], "temperature": [[0.5, 0.5, 1, 1]]}
    more = content | {"grid": grid | {"exclude": [{"seed": 1}]}}
    job.write_text(yaml.safe_dump(more))
    assert main([*command, "--dry-run"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "12 cells, 6 speeches of 1 image: 2 to generate, 4 to transcribe" in said


def test_seeds_and_candidates_of_greedy_decoding_are_one_variant() -> None:
    greedy = PixVoxSystem(kind="pixvox", label="delay", weights="zoo:pixvox-tiny-delay")
    grid = Grid.model_validate({"seed": [0, 1], "temperature": [0, 0.5], "candidates": [1, 4]})
    decodings = [system.decoding for system in variants(greedy, grid)]
    points = [(decoding.temperature, decoding.seed, decoding.candidates) for decoding in decodings]
    warm = [(0.5, seed, number) for seed in (0, 1) for number in (1, 4)]
    assert sorted(points) == [(0, 0, 1), *warm]


def test_decoding_that_a_model_cannot_do_is_told_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    system = {"kind": "pixvox", "label": "small", "weights": "zoo:pixvox-tiny-delay"}
    job = tmp_path / "job.yaml"
    content = {"name": "a", "dataset": {"name": "scenes"}, "systems": [system]}
    job.write_text(yaml.safe_dump(content | {"grid": {"temperature": [[0.5, 1]]}}))
    assert main(["run", str(job), "--runs", str(tmp_path), "--dry-run"]) == 2
    assert "decoding.temperature has 2 values, and the model 4" in capsys.readouterr().err
    for grid in ({"candidates": [1, 4]}, {"include": [{"system": "small", "candidates": 4}]}):
        job.write_text(yaml.safe_dump(content | {"grid": grid}))
        assert main(["run", str(job), "--runs", str(tmp_path), "--dry-run"]) == 2
        assert "grid: 4 candidates, but no system samples" in capsys.readouterr().err
    guided = DecodingSpec(guidance=(2, 2, 1, 1))
    assert "needs a null image" in guided.unfit(4, null_image=False)
    assert guided.unfit(4, null_image=True) == ""
    # Guidance that is none leaves keys as they were before there was any.
    assert DecodingSpec(guidance=(1, 1)).depends() == DecodingSpec().depends()
    assert not {"guidance", "candidates"} & DecodingSpec().depends().keys()


def test_what_needs_a_gpu_is_refused_before_any_item() -> None:
    decoding = DecodingSpec(arithmetic="bfloat16")
    system = PixVoxSystem(
        kind="pixvox", label="ours", weights="zoo:pixvox-tiny-delay", decoding=decoding
    )
    # A run's actors are made of what cells share.
    with pytest.raises(UserError, match="bfloat16 needs a GPU"):
        system.shared().generator("cpu")
