"""`pixvox init`: jobs for what lies in folders, each of which can be run as it is."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from bench.cli import main
from bench.datasets.base import Dataset

CSV = "image,caption\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own, as the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _pictures(folder: Path, scenes: Dataset, count: int) -> list[Path]:
    folder.mkdir()
    return [Path(shutil.copy(item.image, folder)) for item in scenes.items[:count]]


def _audio(folder: Path, names: list[str]) -> None:
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes(b"not looked into")


def test_pictures_with_texts_and_audio_beside(
    here: Path, scenes: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = _pictures(here / "data", scenes, 3)
    for picture in pictures:
        picture.with_suffix(".txt").write_text("a dog runs\n\na brown dog: it runs\n")
    _audio(here / "my model", ["test_00000.flac", "test_00002.flac", "other.flac", "x.wav"])
    assert main(["init"]) == 0
    said = capsys.readouterr().out
    assert "data/captions.jsonl: 3 pictures and their captions" in said
    assert "2 of 3 images have an audio file in my model" in said
    job = yaml.safe_load(Path("job.yaml").read_text())
    assert job["dataset"] == {"name": "folder", "manifest": "data/captions.jsonl"}
    assert [system["kind"] for system in job["systems"]] == ["text", "wavs", "shuffled"]
    assert job["systems"][1]["file"] == "{stem}.flac"
    assert job["name"] == "my-model"
    assert main(["run", "job.yaml", "--dry-run"]) == 0
    assert "1 of 3 audio files of my model is missing" in capsys.readouterr().out
    # What is there is not written over.
    assert main(["init"]) == 2
    assert "job.yaml: is there already" in capsys.readouterr().err


def test_a_table_of_lone_captions_and_a_checkpoint(
    here: Path, scenes: Dataset, copy_of_zoo: Path
) -> None:
    rows = [
        f"{picture.name},{number} dogs"
        for number, picture in enumerate(_pictures(here / "a", scenes, 2))
    ]
    (here / "a" / "list.csv").write_text(CSV + "\n".join(rows))
    (here / "a" / "notes.csv").write_text("name,size\nx,1\n")
    assert main(["init", "a", str(copy_of_zoo), "-o", "010.yaml"]) == 0
    job = yaml.safe_load(Path("010.yaml").read_text())
    assert (job["name"], job["scoring"]) == ("010", {"references": "all"})
    assert [system["kind"] for system in job["systems"]] == ["pixvox", "shuffled"]
    assert main(["run", "010.yaml", "--dry-run"]) == 0


def test_flickr8k_and_no_system(here: Path, flickr8k: Path) -> None:
    shutil.rmtree(here / "weights", ignore_errors=True)
    assert main(["init", "flickr8k", "-o", "job.yaml"]) == 0
    text = Path("job.yaml").read_text()
    job = yaml.safe_load(text)
    assert job["dataset"] == {
        "name": "flickr8k",
        "root": "flickr8k",
        "audio": "flickr8k/flickr_audio",
    }
    assert [system["kind"] for system in job["systems"]] == [
        "text",
        "recorded",
        "pixvox",
        "shuffled",
    ]
    assert "# 4 images with 5 captions each." in text
    assert main(["run", "job.yaml", "--dry-run"]) == 0


def _dataset_of(*folders: str) -> dict[str, str]:
    """The `dataset` of the job that init writes for a folder; the job can be run."""
    assert main(["init", *folders]) == 0
    job = yaml.safe_load(Path("job.yaml").read_text())
    assert main(["run", "job.yaml", "--dry-run"]) == 0
    dataset: dict[str, str] = job["dataset"]
    return dataset


def _karpathy(file: Path, pictures: list[Path]) -> None:
    sentences = [{"raw": "A dog ."}, {"raw": "Two dogs ."}]
    images = [{"filename": p.name, "split": "test", "sentences": sentences} for p in pictures]
    file.write_text(json.dumps({"dataset": "flickr8k", "images": images}))


@pytest.mark.parametrize("images", ["data", "data/photos", "photos"])
def test_karpathy_s_split(here: Path, scenes: Dataset, images: str) -> None:
    (here / "data").mkdir()
    folder = here / images if images != "data" else here / "data" / "data"
    pictures = _pictures(folder, scenes, 2)
    if images == "data":
        pictures = [Path(shutil.move(picture, here / "data")) for picture in pictures]
        folder.rmdir()
    (here / "data" / "dataset_a.json").write_text("[]")
    _karpathy(here / "data" / "dataset_flickr8k.json", pictures)
    assert _dataset_of("data") == {
        "name": "karpathy",
        "file": "data/dataset_flickr8k.json",
        "images": images,
    }


def test_a_split_whose_pictures_lie_elsewhere(
    here: Path, scenes: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "data" / "json").mkdir(parents=True)
    (here / "disk").mkdir()
    pictures = _pictures(here / "disk" / "photos", scenes, 2)
    file = here / "data" / "json" / "dataset_flickr8k.json"
    _karpathy(file, pictures)
    assert main(["init", "data"]) == 2
    said = capsys.readouterr().err
    assert (
        f"data/json/{file.name}: its pictures (first: {pictures[0].name}) are not in data/json"
        in said
    )
    assert "pixvox init data/json PICTURES" in said
    assert main(["init", str(file.relative_to(here))]) == 2
    assert "is a file; name its folder: pixvox init data/json" in capsys.readouterr().err
    assert main(["init", "data", "disk"]) == 0
    assert yaml.safe_load(Path("job.yaml").read_text())["dataset"]["images"] == "disk/photos"


def test_a_manifest_without_its_pictures_is_named_where_nothing_else_is(
    here: Path, scenes: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "lists").mkdir()
    (here / "lists" / "a.csv").write_text(f"{CSV}gone.png,a dog\n")
    (here / "lists" / "b.csv").write_text("no,manifest\n1,2\n")
    assert main(["init", "lists"]) == 2
    assert "lists/a.csv: its pictures (first: gone.png) are not there" in capsys.readouterr().err
    (picture,) = _pictures(here / "photos", scenes, 1)
    (here / "photos" / "c.csv").write_text(f"{CSV}{picture.name},a dog\n")
    assert _dataset_of("lists", "photos") == {"name": "folder", "manifest": "photos/c.csv"}


def test_spokencoco(here: Path, scenes: Dataset) -> None:
    pictures = _pictures(here / "val2014", scenes, 2)
    (here / "coco").mkdir()
    shutil.move(here / "val2014", here / "coco")
    captions = [{"text": "a dog"}, {"text": "two dogs"}]
    entries = [{"image": f"val2014/{p.name}", "captions": captions} for p in pictures]
    (here / "SpokenCOCO").mkdir()
    for half in ("train", "val"):
        file = here / "SpokenCOCO" / f"SpokenCOCO_{half}.json"
        file.write_text(json.dumps({"data": entries}))
    assert _dataset_of("SpokenCOCO") == {
        "name": "spokencoco",
        "file": "SpokenCOCO/SpokenCOCO_val.json",
        "images": "coco",
    }


def test_a_split_of_scenes(here: Path, scenes: Dataset) -> None:
    picture = _pictures(here / "mine", scenes, 1)[0]
    captions = [{"text": "a dog"}, {"text": "two dogs"}]
    row = {"id": "a", "image": picture.name, "facts": ["number: 1"], "captions": captions}
    (here / "mine" / "manifest.jsonl").write_text(json.dumps(row) + "\n")
    assert _dataset_of("mine") == {"name": "scenes", "folder": "mine"}


def test_audio_of_the_shipped_pictures_where_one_stands(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _audio(here / "speech", [f"test_{number:05}.wav" for number in range(200)])
    monkeypatch.chdir(here / "speech")
    assert main(["init"]) == 0
    job = yaml.safe_load(Path("job.yaml").read_text())
    assert job["dataset"] == {"name": "scenes"}
    assert job["systems"][2] == {"kind": "wavs", "label": "speech", "folder": "."}
    assert main(["run", "job.yaml", "--dry-run"]) == 0


@pytest.mark.parametrize(
    ("folders", "said"),
    [
        (["empty"], "empty: nothing to evaluate is there; name a folder of pictures"),
        (["none"], "none: no such folder"),
        (["one", "two"], "several folders of pictures and captions (one, two); name one"),
    ],
)
def test_what_is_not_clear_is_a_line(
    here: Path, scenes: Dataset, capsys: pytest.CaptureFixture[str], folders: list[str], said: str
) -> None:
    (here / "empty").mkdir()
    for name in ("one", "two"):
        (picture,) = _pictures(here / name, scenes, 1)
        (here / name / "a.csv").write_text(f"{CSV}{picture.name},a dog\n")
    assert main(["init", *folders]) == 2
    assert said in capsys.readouterr().err
    assert not (here / "job.yaml").exists()
