"""A user's own data and public formats are read; data that are not official are marked."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from bench.cli import main
from bench.common.errors import UserError
from bench.common.yamlfile import validate
from bench.datasets.base import Dataset, Item
from bench.datasets.flickr8k import read_speech
from bench.datasets.loading import load_dataset
from bench.datasets.shipped import AnyDataset
from bench.datasets.standing import official, standing_of
from bench.jobs.spec import Job
from bench.systems.wavs import WavsSystem, wav_files
from bench.tables.comparability import grade_published
from bench.tables.protocol import Protocol
from bench.tables.published import load_published
from bench.training.data import spoken_of
from bench.training.spec import Data, TrainingJob

LINES = """\
{"id": "a", "image": "pictures/one.jpg", "captions": ["a dog runs", \
{"text": "a dog", "speech": "a_1.wav", "speaker": "s1"}]}
{"image": "two.jpg", "captions": ["two\u2028cats"]}
{"image": "three.jpg", "captions": []}
"""
TABLE = """\
id,image,caption,speech,speaker
a,pictures/one.jpg,a dog runs,,
a,pictures/one.jpg,a dog,a_1.wav,s1
,two.jpg,"two\u2028cats",,
,three.jpg,,,
"""
OFFICIAL = ("3385593926_d3e9c21170.jpg", "2677656448_6b7e7702af.jpg")


def _loaded(**spec: Any) -> Dataset:
    return load_dataset(validate(json.loads(json.dumps(spec, default=str)), AnyDataset, "job"))


def _written(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize("file", ["data.jsonl", "data.csv"])
@pytest.mark.parametrize(
    "saved", [str, lambda t: "\ufeff" + t, lambda t: t.replace("\n", "\r\n"), str.rstrip]
)
def test_manifests_in_jsonl_and_csv_are_read(
    tmp_path: Path, file: str, saved: Callable[[str], str]
) -> None:
    text = LINES if file.endswith("jsonl") else TABLE
    manifest = _written(tmp_path / file, saved(text))
    data = _loaded(name="folder", manifest=manifest)
    first, second = data.items
    assert (first.id, second.id) == ("a", "two")
    assert first.image == tmp_path / "pictures" / "one.jpg"
    assert [(c.text, c.speech, c.speaker) for c in first.captions] == [
        ("a dog runs", None, ""),
        ("a dog", tmp_path / "a_1.wav", "s1"),
    ]
    assert second.captions[0].text == "two\u2028cats"
    ((name, reason),) = data.unusable
    assert (name, reason.partition(": ")[2]) == ("three", "has no caption")
    assert data.speech_kind == "recorded, one speaker"
    assert data.counted(2) == "2 of 2 folder data images (own data)"


IMAGE = '{"image": "a.jpg", "captions": ["x"]}\n'


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("d.jsonl", IMAGE + IMAGE, r"d\.jsonl:2: a occurs twice, first at d\.jsonl:1; remove"),
        ("d.jsonl", IMAGE + '{"image": "b', r"d\.jsonl:2: not JSON at character 11"),
        ("d.jsonl", IMAGE.replace("captions", "caption"), r"d\.jsonl:1: caption: extra"),
        ("d.jsonl", '{"captions": ["x"]}', r"d\.jsonl:1: image: field required"),
        ("d.jsonl", '{"image": "../a.jpg"}', r"d\.jsonl:1: '\.\./a\.jpg' leads out of its folder"),
        ("d.jsonl", '{"image": "/a.jpg"}', r"d\.jsonl:1: '/a\.jpg' is an absolute path; write its"),
        ("d.jsonl", r'{"image": "a\\b.jpg"}', r"d\.jsonl:1: 'a.*b\.jpg' is a Windows path; use /"),
        ("d.jsonl", '{"image": "C:/b.jpg"}', r"d\.jsonl:1: 'C:/b\.jpg' is a Windows path"),
        ("d.jsonl", r'{"image": "a\b\c.jpg"}', r"d\.jsonl:1: not JSON .*; write / for . in paths"),
        ("d.csv", "image,caption\na\\b.jpg,x\n", r"d\.csv:2: 'a.*b\.jpg' is a Windows path"),
        (
            "d.jsonl",
            IMAGE + '{"image": "b.jpg", "captions": [{"text": "x", "text": "y"}]}',
            r"d\.jsonl:2: the key 'text' occurs twice; remove one",
        ),
        ("d.jsonl", '{"image": ""}', r"d\.jsonl:1: names no file; write its path"),
        ("d.jsonl", '{"image": "a.jpg", "id": "a/b"}', r"d\.jsonl:1: the id 'a/b' holds a slash"),
        ("d.jsonl", IMAGE.replace('"x"', '" "'), r"d\.jsonl:1: a: caption 0 is empty; remove it"),
        ("d.jsonl", IMAGE.replace("\n", "\r") * 2, r"d\.jsonl: lines end in CR alone; convert"),
        ("d.jsonl", "[" * 100_000, r"d\.jsonl:1: not JSON"),
        ("d.csv", "image,caption\ra.jpg,x\rb.jpg,y\r", r"d\.csv: lines end in CR alone; convert"),
        ("d.csv", 'image,caption\na.jpg,"x\nb.jpg,y\n', r"d\.csv:2: .*a quote may be open there"),
        ("d.csv", "image,caption,speach\n", r"d\.csv:1: 'speach' is no column; did you.*`speech`"),
        ("d.csv", "image,image,caption\n", r"d\.csv:1: a column occurs twice"),
        ("d.csv", "image\n", r"d\.csv:1: expected the columns image,caption"),
        ("d.csv", "image,caption\na.jpg,x\nb/a.jpg,y\n", r"d\.csv:3: a has the image 'b/a\.jpg'"),
        ("d.csv", "image,caption\na.jpg,x\na.jpg,\n", r"d\.csv:3: a has an empty caption; remove"),
        ("d.txt", "", r"dataset\.manifest: d\.txt is no \.jsonl or \.csv"),
    ],
)
def test_an_invalid_file_gives_one_line_with_its_place(
    tmp_path: Path, file: str, text: str, message: str
) -> None:
    job = {"dataset": {"name": "folder", "manifest": str(_written(tmp_path / file, text))}}
    with pytest.raises(UserError, match=message) as error:
        load_dataset(validate(job, dict[str, AnyDataset], "job.yaml")["dataset"])
    assert "\n" not in str(error.value)


def test_pictures_and_speech_may_be_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, store = tmp_path / "snapshot", tmp_path / "blobs"
    for name in ("a.jpg", "wavs/a_0.wav"):
        _written(store / Path(name).name, name)
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).symlink_to(store / Path(name).name)
    row = {"image": "a.jpg", "captions": [{"text": "x", "speech": "wavs/a_0.wav"}]}
    (data / "d.jsonl").symlink_to(_written(store / "d", row))
    plain = _loaded(name="folder", manifest=data / "d.jsonl")
    assert plain.items[0].image.read_text() == "a.jpg"
    wavs = WavsSystem(kind="wavs", label="x", folder=data / "wavs", file="{id}_0.wav")
    assert wav_files(wavs, plain.items) == {"a": "a_0.wav"}
    _written(data / "wav2capt.txt", "a_0.wav a.jpg #0\n")
    assert read_speech(data)["a.jpg", 0].read_text() == "wavs/a_0.wav"
    monkeypatch.chdir(data)
    _written(Path("e.jsonl"), '{"image": "../a.jpg"}')
    with pytest.raises(UserError, match="out of its folder; write its path from the current fold"):
        _loaded(name="folder", manifest="e.jsonl")


def test_spokencoco_is_read_as_it_is_distributed(tmp_path: Path) -> None:
    image = "val2014/COCO_val2014_000000325114.jpg"
    wav = "wavs/val/0/m1vjq8cayvs6c9-32KTQ2V7RDFP25PU1AP8KXEZU8I9MO_92648_385961.wav"
    captions = [
        {"text": "A URINAL IN A RESTROOM", "speaker": "m1vjq8cayvs6c9", "uttid": "u", "wav": wav},
        {"text": "A TOILET", "speaker": "m2", "uttid": "v", "wav": "wavs/val/0/m2.wav"},
    ]
    content = {"data": [{"image": image, "captions": captions}]}
    file = _written(tmp_path / "SpokenCOCO" / "SpokenCOCO_val.json", content)
    data = _loaded(name="spokencoco", file=file, images=tmp_path / "coco")
    (item,) = data.items
    assert item.id == "COCO_val2014_000000325114"
    assert item.image == tmp_path / "coco" / image
    assert item.captions[0].speech == tmp_path / "SpokenCOCO" / wav
    assert data.speech_kind == "recorded, 2 speakers"
    assert data.counted(1) == "1 of 1 spokencoco val images (list not checked)"
    del content["data"][0]["image"]
    with pytest.raises(UserError, match=r"SpokenCOCO_val\.json: data\[0\]: image: field required"):
        _loaded(name="spokencoco", file=_written(file, content))


def _karpathy(name: str, *images: tuple[str, str, str, list[str]]) -> dict[str, Any]:
    entries = [
        {
            "filename": file,
            "split": split,
            "imgid": number,
            "sentids": list(range(len(texts))),
            "sentences": [
                {"raw": t, "tokens": t.lower().split(), "imgid": number, "sentid": 0} for t in texts
            ],
        }
        | ({"filepath": folder} if folder else {})
        for number, (folder, file, split, texts) in enumerate(images)
    ]
    return {"images": entries, "dataset": name}


def test_karpathy_s_splits_are_read_as_they_are_distributed(tmp_path: Path) -> None:
    content = _karpathy(
        "coco",
        ("val2014", "a.jpg", "restval", ["One.", "Two.", "Three."]),
        ("train2014", "b.jpg", "train", ["Four."]),
        ("val2014", "c.jpg", "test", ["Five. "]),
    )
    file = _written(tmp_path / "dataset_coco.json", content)
    spec = {"name": "karpathy", "file": file, "images": tmp_path}
    (item,) = _loaded(**spec).items
    assert (item.id, item.image) == ("c", tmp_path / "val2014" / "c.jpg")
    assert item.captions[0].text == "Five."
    train = _loaded(**spec, split="train")
    assert [(i.id, len(i.captions)) for i in train.items] == [("a", 3), ("b", 1)]
    assert train.counted(2) == "2 of 2 coco train images (list not checked)"
    with pytest.raises(UserError, match=r"x\.json: expected an object with a list 'images'"):
        _loaded(**spec | {"file": _written(tmp_path / "x.json", {"data": []})})


def test_karpathy_s_flickr8k_has_flickr_audio_s_speech(flickr8k: Path, tmp_path: Path) -> None:
    names = (flickr8k / "Flickr_8k.testImages.txt").read_text().split()
    content = _karpathy("flickr8k", *(("", name, "test", ["A .", "B ."]) for name in names))
    file = _written(tmp_path / "dataset_flickr8k.json", content)
    images, audio = flickr8k / "Flicker8k_Dataset", flickr8k / "flickr_audio"
    data = _loaded(name="karpathy", file=file, images=images, audio=audio)
    speech = data.items[0].captions[1].speech
    assert speech == audio / "wavs" / f"{Path(names[0]).stem}_1.wav"
    assert speech.is_file()


def test_a_shortened_list_is_a_subset(flickr8k: Path, scenes: Dataset) -> None:
    tokens, listing = flickr8k / "Flickr8k.token.txt", flickr8k / "Flickr_8k.testImages.txt"
    tokens.write_text("".join(f"{name}#0\tA dog .\n" for name in OFFICIAL))
    listing.write_text("\n".join(OFFICIAL))
    data = _loaded(name="flickr8k", root=flickr8k)
    assert data.counted(2) == "2 of 1000 flickr8k test images (a subset, own captions)"
    more = "mine.jpg"
    tokens.write_text(tokens.read_text() + f"{more}#0\tA dog .\n")
    listing.write_text("\n".join([*OFFICIAL, more]))
    data = _loaded(name="flickr8k", root=flickr8k)
    assert data.counted(3) == "3 of 3 flickr8k test images (own list, own captions)"
    assert scenes.counted(48) == "48 of 200 scenes test images"


def test_the_official_list_is_recognised_by_its_digests(monkeypatch: pytest.MonkeyPatch) -> None:
    known = official("flickr8k", "test")
    assert len(known) == 1000
    monkeypatch.setattr("bench.datasets.standing.name_digest", str)
    monkeypatch.setattr("bench.datasets.standing.captions_digest", lambda name, _: known[name])
    whole = [Item(name, Path(name), ()) for name in known]
    assert standing_of("flickr8k", "test", whole) == ((), 1000)
    assert standing_of("flickr8k", "test", whole[1:]) == (("a subset",), 1000)


def test_items_take_a_named_subset(tmp_path: Path, scenes: Dataset) -> None:
    first, second = scenes.items[:2]
    listing = _written(tmp_path / "some.txt", f"\ufeff{second.image.name}\r\n\r\n{first.id}\r\n")
    data = _loaded(name="scenes", items=listing)
    assert data.items == (first, second)
    assert data.counted(2) == "2 of 200 scenes test images (a subset)"
    assert data.digest != scenes.digest
    everything = _written(listing, "\n".join(item.id for item in scenes.items))
    whole = _loaded(name="scenes", items=everything)
    assert (whole.digest, whole.standing) == (scenes.digest, ())
    for text, message in (
        (f"{first.id}\nnobody", r"some\.txt:2: nobody is no item of scenes test; remove"),
        (f"{first.id}\n{first.image.name}", r"some\.txt:2: .* is on line 1 already; remove one"),
        ("\n", r"some\.txt: names no item"),
    ):
        with pytest.raises(UserError, match=message):
            _loaded(name="scenes", items=_written(listing, text))


@pytest.mark.parametrize(
    ("items", "of", "standing", "split", "mark"),
    [
        (1000, 1000, (), "test", "≈"),
        (48, 1000, (), "test", "✗"),
        (15, 1000, ("a subset",), "test", "✗"),
        (1000, 1000, ("own captions",), "test", "✗"),
        (1000, 1000, (), "val", "✗"),
    ],
)
def test_published_rows_are_shown_only_for_the_whole_official_split(
    items: int, of: int, standing: tuple[str, ...], split: str, mark: str
) -> None:
    row = load_published().rows[0]
    protocol = Protocol(
        dataset="flickr8k",
        split=split,
        dataset_digest="0" * 16,
        speech="none",
        items=items,
        of=of,
        asr="tiny.en",
        references="all",
        standing=standing,
    )
    grade = grade_published(row, protocol, "tiny.en")
    assert grade.mark == mark
    whole = f"Published rows use all 1000 test images; yours uses {items}"
    expected = whole if (split, "own captions" in standing) == ("test", False) else protocol.images
    assert (expected in grade.reason) == (mark == "✗")


def test_one_declaration_serves_evaluation_and_training(
    flickr8k: Path, tmp_path: Path, scenes: Dataset
) -> None:
    item = scenes.items[0]
    speech = item.captions[0].speech
    assert speech is not None
    shutil.copy(speech, tmp_path)
    captions = [{"text": "a", "speech": speech.name}]
    manifest = {"image": item.image.name, "captions": captions}
    file = str(_written(tmp_path / "data.jsonl", manifest))
    data = validate({"name": "folder", "manifest": file, "validation": file}, Data, "job")
    for half in ("train", "val"):
        (spoken,) = spoken_of(data, half, lambda *_: None)
        assert spoken.caption.speech is not None
        assert spoken.caption.speech.is_file()
    # As it comes to a worker.
    placed = data.placed()
    assert TypeAdapter(Data).validate_python(placed.model_dump(mode="json")) == placed
    system = {"kind": "silence", "label": "silence"}
    job = {"name": "a", "systems": [system], "dataset": {"name": "scenes", "train_images": 3}}
    with pytest.raises(UserError, match=r"dataset\.train_images: only training uses it; remove it"):
        validate(job, Job, "job")
    codec = {"kind": "codec", "output": "o", "clips": 1, "plan": {"steps": 1}}
    for wrong, message in (
        ({"validation_images": 3}, r"data\.train_images: is missing"),
        ({"name": "flickr8k", "root": str(flickr8k)}, r"data\.audio: is missing"),
        ({"train_images": 3, "items": file}, r"data\.items: only evaluation uses it; remove it"),
    ):
        with pytest.raises(UserError, match=message):
            validate(codec | {"data": wrong}, TrainingJob, "job")
    captioner = {"kind": "captioner", "output": "o", "vision": "v", "plan": {"steps": 1}}
    data = {"name": "flickr8k", "root": str(flickr8k)}
    assert validate(captioner | {"data": data}, TrainingJob, "job").data.name == "flickr8k"


def test_a_subset_is_named_in_every_output(
    flickr8k: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokens, listing = flickr8k / "Flickr8k.token.txt", flickr8k / "Flickr_8k.testImages.txt"
    texts = ("A dog runs .", "Two dogs .", "A brown dog in the snow .")
    tokens.write_text(
        "".join(f"{n}#{k}\t{text}\n" for n in OFFICIAL for k, text in enumerate(texts))
    )
    listing.write_text("\n".join(OFFICIAL))
    dataset = {"name": "flickr8k", "root": str(flickr8k)}
    job = {"name": "few", "dataset": dataset, "systems": [{"kind": "text"}]}
    path = _written(tmp_path / "job.yaml", job)
    assert main(["run", str(path), "--runs", str(tmp_path)]) == 0
    label = "flickr8k test images (a subset, own captions)"
    assert f"1 cell × 2 of 1000 {label}" in capsys.readouterr().out
    table = (tmp_path / "few" / "tables" / "table1.md").read_text().replace("\\", "")
    assert f"Published rows use the whole test split; yours uses 2 of 1000 {label}." in table
    assert f"Data: 2 of 1000 {label} (digest " in table
    assert "measured, on flickr8k (a subset, own captions)" in table
    summary = json.loads((tmp_path / "few" / "summary.json").read_text())
    data = summary["cells"][0]["signature"]["data"]
    assert data.startswith("flickr8k.test(a subset, own captions)@")
