"""Narration: what is read, each caption once, into files that a dataset reads."""

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from bench.asr.shipped import DEFAULT
from bench.asr.whisper import WhisperAsr
from bench.commands.narrate import narrate
from bench.common.audio import SpeechError, Wave, read_speech, wav_bytes
from bench.common.errors import UserError
from bench.common.supervisor import supervise
from bench.datasets.base import Dataset
from bench.datasets.flickr8k import Flickr8kSpec
from bench.datasets.folder import FolderSpec
from bench.datasets.loading import load_dataset
from bench.datasets.narrated import SYNTHETIC, Narration
from bench.datasets.storedunits import Units, entry_digest, stored_units
from bench.datasets.unitcache import sound_of
from bench.jobs.expansion import expand
from bench.jobs.preflight import missing_files
from bench.jobs.spec import Job
from bench.metrics.wer import Wer
from bench.narration.folder import Folder
from bench.narration.job import NarrationJob, read_job
from bench.narration.plan import Utterance, plan_narration
from bench.narration.reading import Format, Narrator, batches
from bench.systems.base import speech_file
from bench.systems.resynthesis import prompt_units
from bench.systems.spoken import spoken
from bench.systems.voices import Reader, reader
from bench.tables.comparability import grade_published
from bench.tables.protocol import Protocol
from bench.tables.published import load_published
from bench.training.data import Preparing, spoken_captions, spoken_of
from pixvox.codec.encodec import Codec
from pixvox.codec.facts import codec_facts
from pixvox.configuration import PixVoxConfig
from pixvox.modeling import PixVoxLM

pytestmark = pytest.mark.slow

FILES_BEFORE_DEATH = 5


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("Two goats stand in the entry way .", "Two goats stand in the entry way"),
        ("Two goats stand in the entry way. . .", "Two goats stand in the entry way"),
        ("A goat , a cat ; and a hen !", "A goat, a cat; and a hen"),
        ('A goat by a " no goats " sign .', "A goat by a no goats sign"),
        ("A goat by a “no goats” sign .", "A goat by a no goats sign"),
        ("A goat by a ' no goats ' sign .", "A goat by a no goats sign"),
        ("The farmer 's goat isn 't here .", "The farmer's goat isn't here"),
        ("Rock 'n' roll , rock n 'roll .", "Rock'n' roll, rock n'roll"),
        ("Salt & pepper at a B&B .", "Salt and pepper at a B&B"),
        ("A goat - ( or a sheep ? ) * eats .", "A goat or a sheep? eats"),
        ("Bus # 7 is 90 % full .", "Bus # 7 is 90 % full"),
        ("The goats' pen", "The goats' pen"),
        ("It is grade A .", "It is grade A"),
        ("A goat in the U.S.", "A goat in the U.S"),
        ("Goats, hens, etc .", "Goats, hens, etc"),
        (" .5 litres\u2028of  3.5 % milk .", ".5 litres of 3.5 % milk"),
        ("a dog runs", "a dog runs"),
        ('" . ! - "', ""),
        ("", ""),
    ],
)
def test_captions_are_normalised_before_they_are_read(text: str, read: str) -> None:
    assert spoken(text) == read
    assert spoken(read) == read


def test_captions_of_scenes_are_not_changed(scenes: Dataset) -> None:
    texts = [caption.text for item in scenes.items for caption in item.captions]
    assert [spoken(text) for text in texts] == texts


def test_a_full_stop_is_not_read_as_dot() -> None:
    texts = [
        "A black cat sleeps on the kitchen table .",
        "Two girls are running on the beach .",
        'A boy holds a sign that says " stop " .',
    ]
    voice = reader("piper:joe", "cpu")
    # eSpeak says what it has left over of a text before the next one: of these three in this order,
    # and before them of whatever else this process has read.
    voice.read("A dog.")
    waves = [voice.read(text)[0] for text in texts]
    transcripts = [t.transcript for t in WhisperAsr().transcriber("cpu", 1).transcribe(waves)]
    counted = Wer().statistics(
        dict(zip(texts, transcripts, strict=True)), {text: (text,) for text in texts}
    )
    assert Wer().score(counted.sum(0))[0] <= 5
    assert not re.search(r"\bdot\b", " ".join(transcripts).lower())


CODEC = ("zoo:encodec-tiny", 1.6)


def _wave(text: str) -> Wave:
    """A text as its bytes at 16 kHz, so quiet that rounding to 16 bits changes units."""
    return np.frombuffer(text.encode() * 40, np.uint8).astype(np.float32) / 10_000


def _stub() -> type:
    # Made inside a function, so that Ray ships the class itself and not its module's name.
    class Voice:
        """Says a text as its bytes; cannot say `mute`."""

        def read(self, text: str) -> tuple[Wave, int]:
            if "mute" in text:
                raise SpeechError("its voice failed")
            return np.frombuffer(text.encode() * 40, np.uint8).astype(np.float32) / 10_000, 16_000

    class Stub(Narrator):
        def load_voice(self, voice: str) -> Reader:
            return Voice()

    return Stub


def _files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _job(root: Path, **more: object) -> Path:
    path = root.parent / "narrate.yaml"
    job = {"dataset": {"name": "flickr8k", "root": str(root)}, "splits": ["test"], "workers": 2}
    units = {"codec": CODEC[0], "bandwidth": CODEC[1]}
    path.write_text(json.dumps(job | units | more))
    return path


@pytest.fixture(scope="module")
def root(flickr8k_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Flickr8k folder, with a caption without a word and one that the stub cannot say."""
    root = tmp_path_factory.mktemp("narrate") / "flickr8k"
    root.mkdir()
    for path in flickr8k_folder.iterdir():
        (root / path.name).symlink_to(path)
    tokens = (flickr8k_folder / "Flickr8k.token.txt").read_text()
    tokens = re.sub(r"(00_\w+\.jpg#3)\t.*", r"\1\t. . .", tokens)
    tokens = re.sub(r"(01_\w+\.jpg#2)\t.*", r"\1\tA mute swan .", tokens)
    (root / "Flickr8k.token.txt").unlink()
    (root / "Flickr8k.token.txt").write_text(tokens)
    return root


@pytest.fixture(scope="module")
def unbroken(root: Path) -> Path:
    """A narration that ran to its end."""
    folder = root.parent / "unbroken"
    assert narrate(_job(root), {"output": str(folder)}, _stub()) == 0
    return folder


def test_units_are_of_the_voices_own_samples(root: Path, unbroken: Path) -> None:
    codec = Codec.load(*CODEC)
    dataset = load_dataset(Flickr8kSpec(name="flickr8k", root=root, audio=unbroken))
    said = [c for item in dataset.items for c in item.captions if c.speech is not None]
    assert len(said) == 18
    changed = 0
    for caption in said:
        assert caption.units is not None
        assert caption.speech is not None
        units = stored_units(caption.units, codec)
        assert units is not None
        assert torch.equal(units, codec.encode(_wave(spoken(caption.text))))
        changed += not torch.equal(units, codec.encode(read_speech(caption.speech, 16_000)))
    assert changed > 0
    entry = said[0].units
    assert entry is not None
    assert stored_units(entry, replace(codec, digest="0")) is None
    with np.load(unbroken / "units.npz") as file:
        assert (file["units"].dtype, len(file["names"])) == (np.dtype(np.uint8), 18)
    # Captions of other splits in the same file are no part of this one's digest.
    assert entry_digest(entry, b"one") == entry_digest(entry, b"another")


def test_a_narrated_dataset_has_synthetic_speech(root: Path, unbroken: Path) -> None:
    def data(audio: Path | None) -> Dataset:
        return load_dataset(Flickr8kSpec(name="flickr8k", root=root, audio=audio))

    dataset = data(unbroken)
    assert dataset.speech_kind == SYNTHETIC
    assert data(root / "flickr_audio").speech_kind == "natural, many speakers"
    assert data(None).speech_kind == "none"
    spoken_of = {
        (number, caption.text): caption.speech
        for item in dataset.items
        for number, caption in enumerate(item.captions)
    }
    silent = [text for (_, text), speech in spoken_of.items() if speech is None]
    assert silent == [". . .", "A mute swan ."]
    for (_, text), speech in spoken_of.items():
        if speech is not None:
            assert soundfile.info(speech).subtype == "PCM_16"
            said = np.round(read_speech(speech, 16_000) * 10_000).astype(np.uint8).tobytes()
            assert said.decode() == spoken(text) * 40
    speakers = (unbroken / "wav2spk.txt").read_text().splitlines()
    assert len(speakers) == 18
    assert {line.split()[1] for line in speakers} == {"piper:joe"}


def killed(job: str) -> int:
    """A supervised narration whose process is killed while it writes its files."""
    written: list[str] = []
    keep = Folder.keep

    def dying(self: Folder, utterance: Utterance, wav: bytes, units: Units) -> None:
        if len(written) == FILES_BEFORE_DEATH:
            for folder in (self.wavs, self.units.folder):
                (folder / ".half.1.part").write_bytes(wav[:100])
            os.kill(os.getpid(), signal.SIGKILL)
        keep(self, utterance, wav, units)
        written.append("")

    Folder.keep = dying  # type: ignore[method-assign, assignment]
    return supervise(lambda: narrate(Path(job), {}, _stub()), "continue with: this")


def test_a_killed_narration_continues_to_the_same_bytes(root: Path, unbroken: Path) -> None:
    folder = root.parent / "broken"
    job = _job(root, output=str(folder))
    code = "import sys, test_narrate; sys.exit(test_narrate.killed(sys.argv[1]))"
    paths = [str(Path(__file__).parent), *sys.path]
    first = subprocess.run(
        [sys.executable, "-c", code, str(job)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (first.returncode, "ended by SIGKILL" in first.stderr) == (3, True), first.stderr
    assert len(list((folder / "wavs").glob("*.wav"))) == FILES_BEFORE_DEATH
    cut = sorted((folder / "wavs").glob("*.wav"))[0]
    before = {path: path.stat().st_mtime_ns for path in (folder / "wavs").glob("*.wav")}
    # As a disk leaves a file that had not reached it.
    cut.write_bytes(cut.read_bytes()[:-1])
    part = sorted((folder / ".units").glob("*.npy"))[1]
    part.write_bytes(part.read_bytes()[:-1])
    assert narrate(job, {}, _stub()) == 0
    assert _files(folder) == _files(unbroken)
    after = {path: path.stat().st_mtime_ns for path in before}
    assert [path for path in before if before[path] != after[path]] == [cut]


def test_a_finished_narration_has_nothing_left_to_read(
    root: Path, unbroken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = _files(unbroken)
    job = _job(root, output=str(unbroken))
    assert narrate(job, {"captions": 2}, _stub()) == 0
    assert _files(unbroken) == before
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].endswith(
        "8 captions of 4 images of flickr8k test, 0 left out, read by piper:joe, "
        "units by zoo:encodec-tiny at 1.6 kbps"
    )
    assert "8 captions of 8 are there already" in lines


def test_trainings_and_prompts_use_units_without_sound(root: Path, tmp_path: Path) -> None:
    codec = Codec.load(*CODEC)
    data = tmp_path / "flickr8k"
    data.mkdir()
    for path in root.iterdir():
        (data / path.name).symlink_to(path)
    # The last image of the test list has no file.
    names = (root / "Flickr_8k.testImages.txt").read_text().splitlines()[:3]
    (data / "Flickr_8k.trainImages.txt").write_text("\n".join(names))
    job = read_job(_job(data, splits=["train"]), {"output": str(tmp_path / "out"), "sound": False})
    plan = plan_narration(job)
    folder, missing = _prepared(job)
    narrator = _stub()("stub", Format(sound=False, codec=CODEC))
    left = [text for text in missing if "mute" not in text]
    by_text = dict(zip(left, narrator.work(left), strict=True))
    for utterance in plan.utterances:
        if utterance.text in by_text:
            assert by_text[utterance.text].wav is None
            folder.keep(utterance, by_text[utterance.text].wav, by_text[utterance.text].units)
    folder.write_units()
    folder.write_flickr()
    assert {path.name for path in job.output.iterdir()} == {
        "narration.json",
        "texts.tsv",
        "units.npz",
        "wav2capt.txt",
        "wav2spk.txt",
    }
    spec = Flickr8kSpec(name="flickr8k", root=data, audio=job.output, folder=tmp_path / "work")
    how = Preparing(report=lambda *_: None)
    model = PixVoxLM(PixVoxConfig.tiny())
    split = partial(spoken_captions, spec, "train", model=model, frozen=False, skip_too_long=False)
    data = split(codec=codec, how=how)
    assert len(data.units) == 13
    for units, text in zip(data.units, left, strict=True):
        assert torch.equal(units, codec.encode(_wave(text)))
    other = replace(codec, digest="0" * 16)
    with pytest.raises(UserError, match="_0 has no sound, and no units by the codec 0000"):
        split(codec=other, how=how)
    spoken_caption = spoken_of(spec, "train", lambda *_: None)[0].caption
    with pytest.raises(UserError, match="_0 has no sound here, only a codec's units"):
        sound_of(spoken_caption)
    item = spec.half("train", lambda *_: None)[0]
    with pytest.raises(SpeechError, match="caption 0 has units but no sound; narrate it"):
        speech_file(item, 0)
    # So do prompts and resynthesis, by that codec.
    assert torch.equal(prompt_units(item, 0, 1.0, codec), data.units[0])
    with pytest.raises(SpeechError, match="caption 0 has no sound, and no units by the codec 0000"):
        prompt_units(item, 0, 1.0, other)
    systems: list[dict[str, object]] = [
        {"kind": "resynthesis", "codec": CODEC[0], "bandwidth": CODEC[1]},
        {"kind": "recorded"},
    ]
    job = Job.model_validate({"name": "a", "dataset": {"name": "scenes"}, "systems": systems})
    items = spec.half("train", lambda *_: None)
    cells = expand(job, Dataset("d", "s", "none", tuple(items), digest="0"), [(DEFAULT, {})])
    assert list(missing_files(items, items, cells)) == [
        "3 of 3 items have no recording of their caption; 3 have only units, which recorded speech "
        "cannot use"
    ]


def _prepared(job: NarrationJob) -> tuple[Folder, list[str]]:
    plan = plan_narration(job)
    narration = Narration(
        voice="piper:joe",
        voice_digest="0",
        normalisation="spoken 1",
        dataset=plan.datasets[0].name,
        splits=tuple(dataset.split for dataset in plan.datasets),
        codec_digest=codec_facts(*CODEC).digest,
        bandwidth=CODEC[1],
    )
    folder = Folder(job.output, sound=job.sound)
    missing = folder.prepare(narration, plan)
    for utterance in missing if job.sound else ():
        units = np.zeros((4, 1), np.uint8)
        folder.keep(utterance, wav_bytes(np.full(100, 0.1, np.float32), 16_000), units)
    return folder, [utterance.text for utterance in missing]


def test_a_caption_that_changed_is_read_again(root: Path, tmp_path: Path) -> None:
    job = read_job(_job(root), {"output": str(tmp_path / "out"), "captions": 1})
    folder, texts = _prepared(job)
    folder.write_flickr()
    assert len(texts) == 4
    tokens = (root / "Flickr8k.token.txt").read_text()
    copy = tmp_path / "flickr8k"
    copy.mkdir()
    for path in root.iterdir():
        (copy / path.name).symlink_to(path)
    (copy / "Flickr8k.token.txt").unlink()
    (copy / "Flickr8k.token.txt").write_text(
        re.sub(r"(02_\w+\.jpg#0)\t.*", r"\1\tA new hat .", tokens)
    )
    dataset = job.dataset.model_copy(update={"root": copy})
    again = job.model_copy(update={"dataset": dataset})
    assert _prepared(again)[1] == ["A new hat"]
    # Until it was, no list named speech that is not there.
    assert not (job.output / "wav2capt.txt").exists()
    assert len(_prepared(again.model_copy(update={"captions": 2}))[1]) == 4


def test_a_narrated_manifest_is_a_dataset(root: Path, tmp_path: Path, scenes: Dataset) -> None:
    items = tmp_path / "items.txt"
    items.write_text("\n".join(item.id for item in scenes.items[:2]))
    path = tmp_path / "job.yaml"
    path.write_text("{dataset: {name: scenes}, layout: manifest, captions: 2}")
    job = read_job(path, {"output": str(tmp_path / "out"), "items": str(items)})
    folder, _ = _prepared(job)
    folder.write_units()
    folder.write_manifests(plan_narration(job).datasets)
    dataset = FolderSpec(name="folder", manifest=tmp_path / "out" / "test.jsonl").read()
    assert dataset.speech_kind == SYNTHETIC
    for item, source in zip(dataset.items, scenes.items, strict=False):
        assert [c.text for c in item.captions] == [c.text for c in source.captions]
        assert [c.speech is not None for c in item.captions] == [True, True, False, False, False]
        assert [c.units is not None for c in item.captions] == [True, True, False, False, False]
        assert item.captions[0].speaker == "piper:joe"
        assert item.image.read_bytes() == source.image.read_bytes()


def test_tables_say_that_speech_is_synthetic() -> None:
    whole = Protocol(
        dataset="flickr8k",
        split="test",
        dataset_digest="0" * 16,
        speech=SYNTHETIC,
        items=1000,
        of=1000,
        asr="tiny.en",
        references="all",
    )
    rows = {row.system: row for row in load_published().rows if row.dataset == "flickr8k"}
    grades = {name: grade_published(row, whole, "tiny.en") for name, row in rows.items()}
    assert {grade.mark for grade in grades.values()} == {"≈"}
    assert "Trained on: natural speech" in grades["E-I2S"].reason.split("\n")
    assert "natural speech" not in grades["SAS"].reason


@pytest.mark.parametrize(
    ("spoil", "options", "message"),
    [
        ("wav2capt.txt", {}, "contains speech that pixvox narrate did not write; name another"),
        ("narration.json", {}, "narration.json: not what pixvox narrate writes"),
        ("", {"splits": ["best"]}, "flickr8k: split: "),
        ("", {"captions": 0}, "captions: "),
        ("units.npz", {}, "contains speech that pixvox narrate did not write; name another"),
        ("", {"bandwidth": 0.7}, "has no bandwidth 0.7 kbps"),
        ("", {"items": "nowhere.txt"}, "nowhere.txt: no such file"),
    ],
)
def test_a_caption_that_cannot_be_narrated_gives_one_line(
    root: Path, tmp_path: Path, spoil: str, options: dict[str, object], message: str
) -> None:
    if spoil:
        (tmp_path / spoil).write_text("{}")
    with pytest.raises(UserError, match=re.escape(message)) as error:
        narrate(_job(root), {"output": str(tmp_path)} | options, _stub())
    assert "\n" not in str(error.value)


def test_another_voice_needs_another_folder(root: Path, tmp_path: Path) -> None:
    job = read_job(_job(root), {"output": str(tmp_path / "out")})
    _prepared(job)
    with pytest.raises(UserError, match="whose voice_digest is 0, not "):
        narrate(_job(root), {"output": str(tmp_path / "out")}, _stub())


def test_batches_get_smaller_and_leave_nothing_out(root: Path) -> None:
    utterances = plan_narration(read_job(_job(root), {"output": "out"})).utterances * 10
    groups = [list(batch.items) for batch in batches(utterances, 2)]
    assert [utterance for batch in groups for utterance in batch] == list(utterances)
    sizes = [len(batch) for batch in groups]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bandwidth": None}, "codec and bandwidth belong together; name both, or neither"),
        ({"codec": None, "bandwidth": None, "sound": False}, "without sound only units are writ"),
    ],
)
def test_units_need_a_codec_and_its_bandwidth(
    root: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        read_job(_job(root, output="out", **options), {})


def test_the_committed_narration_is_read() -> None:
    path = Path(__file__).parents[2] / "jobs" / "flickr8k" / "narrate.yaml"
    assert read_job(path, {}).splits == ("train", "val", "test")
