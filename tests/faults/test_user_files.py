"""Users' sound, classes and captions give a row or one line."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from bench.asr.base import Transcription
from bench.asr.own import OwnAsr
from bench.asr.shipped import DEFAULT
from bench.cli import main
from bench.common.audio import LOUDEST, SpeechError, read_speech
from bench.common.entries import source_of
from bench.common.errors import UserError
from bench.datasets.base import Caption, Dataset, Item
from bench.datasets.flickr8k import read_csv, read_tokens
from bench.execution.actors import TranscriberActor
from bench.jobs.cells import Cell
from bench.jobs.expansion import expand
from bench.jobs.preflight import missing_files, unmatched
from bench.jobs.spec import Job
from bench.metrics.counted import joined, statistics_of
from bench.metrics.loading import metrics_of
from bench.store.rows import SpeechRow, ToTranscribe
from bench.systems.base import Lookup, Variant
from bench.systems.noise import NoiseSystem
from bench.systems.python import PythonGenerator, PythonSystem
from bench.systems.silence import SilenceSystem
from bench.systems.wavs import WavsSystem, wav_files
from pixvox.weights import zoo_folder

ITEM = Item("a", Path("a.jpg"), (Caption("a dog"),))
VARIANT = Variant("key", 0.0, SilenceSystem(kind="silence"))
MODEL = zoo_folder() / "pixvox-tiny-delay"


@pytest.mark.parametrize(
    ("peak", "reason"),
    [
        (1.5, ""),
        (0.9 * LOUDEST, ""),
        (32767.0, "full scale is 1; scale"),
        (1e30, "a sample of 1e+30"),
    ],
)
def test_sound_far_above_full_scale_is_refused(tmp_path: Path, peak: float, reason: str) -> None:
    wave = peak * np.sin(np.arange(8000) / 10)
    soundfile.write(tmp_path / "x.wav", np.stack([wave, wave], 1), 16_000, subtype="FLOAT")
    if not reason:
        assert np.abs(read_speech(tmp_path / "x.wav", 16_000)).max() > 0.9 * peak
        return
    with pytest.raises(SpeechError, match=reason.replace("+", r"\+")):
        read_speech(tmp_path / "x.wav", 16_000)


CLASSES = """
import sys
import numpy as np
class Given:
    def __init__(self, device, what):
        self.what = what
    def generate(self, image, item):
        return eval(self.what)
class Broken:
    def __init__(self, device):
        raise ValueError("no weights\\nthere")
    def generate(self, image, item):
        pass
class Mute:
    pass
class Heard:
    def __init__(self, device, threads):
        pass
    def transcribe(self, waves):
        pass
"""


@pytest.fixture
def classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "theirs.py").write_text(CLASSES)
    (tmp_path / "exits.py").write_text("import sys\nsys.exit(0)\n")
    (tmp_path / "raises.py").write_text("raise RuntimeError('not\\nhere')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def _python(entry: str, **options: Any) -> PythonSystem:
    return PythonSystem(kind="python", label="mine", entry=entry, options=options)


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("np.zeros(8000), 16000", ""),
        ("np.zeros(8000), np.int64(16000)", ""),
        ("np.zeros(8000), True", "a sample rate of True; it must be a whole number"),
        ("np.zeros(8000), float('nan')", "a sample rate of nan"),
        ("np.zeros(8000), 16000.0", "a sample rate of 16000.0"),
        ("np.zeros(8000), 10**9", "a sample rate of 1000000000 Hz; it must be from 1000"),
        ("np.zeros(8000), 10**5000", "more than 20 digits"),
        ("np.zeros(8000), -16000", "a sample rate of -16000 Hz"),
        ("np.zeros(8000), '16000'", "a sample rate of 16000;"),
        ("np.zeros(0), 16000", "holds no samples"),
        ("np.full(9, np.nan), 16000", "not numbers"),
        ("np.full(9, 1e30), 16000", "a sample of 1e"),
        ("np.ones(9) * 20000, 16000", "full scale is 1"),
        ("np.zeros((2, 9)), 16000", "mono"),
        ("np.zeros(1_000_000), 1000", "longer than 900 s"),
        ("np.zeros(9)", "Error"),
        ("None", "TypeError"),
        ("sys.exit.nothing", "AttributeError"),
    ],
)
@pytest.mark.usefixtures("classes")
def test_the_output_of_a_user_s_class_is_checked(what: str, reason: str) -> None:
    generator = PythonGenerator(_python("theirs:Given", what=what), "cpu")
    row = generator.generate([(ITEM, (VARIANT,))])[0][1]
    assert row.status == ("failed" if reason else "ok"), row.reason
    assert reason in row.reason


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("os:C", "'os' is no file|os has no C"),
        ("sys:C", "'sys' is no file"),
        ("nowhere_at_all:C", "no module 'nowhere_at_all'"),
        ("os.nothing.more:C", "no module 'os.nothing.more'|cannot be imported"),
        ("raises:C", "raises cannot be imported .RuntimeError: not"),
        ("raises.inside:C", "raises cannot be imported|raises.inside cannot be imported"),
        ("exits:C", "exits cannot be imported .SystemExit"),
        ("theirs:Nothing", "theirs has no Nothing"),
        ("theirs:np", "no class with a method generate"),
        ("theirs:Mute", "no class with a method generate"),
    ],
)
@pytest.mark.usefixtures("classes")
def test_an_entry_that_is_no_class_gives_one_line(entry: str, reason: str) -> None:
    with pytest.raises(UserError, match=rf"^mine: .*({reason})") as caught:
        _python(entry).check()
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("classes")
def test_a_class_that_does_not_start_gives_one_line() -> None:
    _python("theirs:Broken").check()
    assert source_of("theirs:Broken", "mine").name == "theirs.py"
    with pytest.raises(UserError, match=r"does not start \(ValueError: no weights there\)"):
        PythonGenerator(_python("theirs:Broken"), "cpu")


@pytest.mark.parametrize(
    ("transcribed", "reason"),
    [
        (Transcription("a dog", 0.1, -0.2, 1.0), ""),
        (Transcription("a dog", avg_logprob=-0.2), ""),
        (Transcription("a dog"), ""),
        (Transcription("!!!!", 0.1, float("nan"), 1.0), "the ASR gave no finite log-probability"),
        (Transcription("!!!!", float("nan"), -0.2, 1.0), "no finite no-speech probability"),
        (Transcription("!!!!", 0.1, float("-inf"), 1.0), "no finite log-probability"),
        (Transcription("!!!!", 0.1, -0.2, float("inf")), "no finite compression ratio"),
    ],
)
def test_a_row_whose_asr_figures_are_not_finite_fails(
    transcribed: Transcription, reason: str
) -> None:
    class Transcriber:
        def transcribe(self, waves: Any) -> list[Transcription]:
            return [transcribed for _ in waves]

    actor = TranscriberActor.__new__(TranscriberActor)
    from bench.systems.voice import Voice

    actor.batch, actor.asr, actor.voice, actor.device = 2, Transcriber(), Voice(), "cpu"
    work = (
        NoiseSystem(kind="noise", seconds=0.5),
        "whole",
        [ToTranscribe(row=SpeechRow(item="a", status="ok"), item=ITEM)],
    )
    actor.measurers = {}
    [(row, _, _)] = actor.work(work)
    assert row.status == ("failed" if reason else "ok")
    assert reason in row.reason
    assert row.transcript == ("" if reason else "a dog")
    assert np.isnan(row.avg_logprob) == (transcribed.avg_logprob is None) or bool(reason)


def test_caption_files_with_cr_or_open_quotes_give_one_line(tmp_path: Path) -> None:
    tokens, table = tmp_path / "tokens.txt", tmp_path / "captions.csv"
    tokens.write_bytes(b"a.jpg#0\tA dog .\ra.jpg#1\tTwo dogs .\r")
    with pytest.raises(UserError, match="lines end in CR alone"):
        read_tokens(tokens)
    tokens.write_bytes(b"a.jpg#" + b"9" * 5000 + b"\tA dog .\n")
    with pytest.raises(UserError, match=r"tokens.txt:1: expected NAME"):
        read_tokens(tokens)
    tokens.write_bytes(b"a.jpg#0\t" + b"dog " * 5000 + b".\n")
    with pytest.raises(UserError, match=r"tokens.txt:1: a caption of 20,001 characters"):
        read_tokens(tokens)
    table.write_text('image,caption\na.jpg,A dog .\nb.jpg,"A cat .\nc.jpg,A cow .\n')
    with pytest.raises(UserError, match=r"captions.csv:3: not readable as CSV .*a quote may be"):
        read_csv(table)
    table.write_text('image,caption\na.jpg,"A dog\r\nand a cat"\n')
    assert read_csv(table) == {"a.jpg": ["A dog\nand a cat"]}


def test_a_mapping_with_an_open_quote_gives_one_line(tmp_path: Path) -> None:
    (tmp_path / "map.csv").write_text('item,file\na,"a.wav\nb,b.wav\n')
    spec = WavsSystem(kind="wavs", label="w", folder=tmp_path, mapping=tmp_path / "map.csv")
    with pytest.raises(UserError, match=r"map.csv:2: not readable as CSV"):
        wav_files(spec, [ITEM])
    (tmp_path / "map.csv").write_text(f"item,file\na,{'x' * 300}\n")
    with pytest.raises(UserError, match="300 bytes long"):
        wav_files(spec, [ITEM])


def test_missing_files_give_one_line_for_each_kind(tmp_path: Path) -> None:
    (tmp_path / "0.jpg").touch()
    items = tuple(
        Item(str(n), tmp_path / f"{n}.jpg", (Caption("a dog", tmp_path / f"{n}.wav"),))
        for n in range(1000)
    )
    (tmp_path / "wavs").mkdir()
    systems = [
        {"kind": "recorded"},
        {"kind": "resynthesis", "codec": "zoo:encodec-tiny", "bandwidth": 1.6},
        {"kind": "pixvox", "label": "mine", "weights": str(MODEL)},
        {"kind": "wavs", "label": "SAT", "folder": str(tmp_path / "wavs")},
        {"kind": "silence"},
    ]
    job = Job.model_validate({"name": "a", "dataset": {"name": "scenes"}, "systems": systems})
    dataset = Dataset("d", "s", "none", items, digest="0")
    cells: list[Cell] = expand(job, dataset, [(DEFAULT, {})])
    assert list(missing_files(items, items, cells)) == [
        f"999 of 1000 images are missing: no such file; first: {tmp_path}/1.jpg",
        "1000 of 1000 recordings of their caption are missing: no such file; first: "
        f"{tmp_path}/0.wav",
        f"1000 of 1000 audio files of SAT are missing: no such file; first: {tmp_path}/wavs/0.wav",
    ]


METRIC = """
import numpy as np
from bench.metrics.base import Metric, Score
class Words(Metric):
    name, columns, scores = "words", ("words",), (Score("words", "W"),)
    def statistics(self, hypotheses, references):
        rows = np.array([[len(text.split())] for text in hypotheses.values()], dtype=float)
        return eval(WRONG, {"rows": rows, "hypotheses": hypotheses})
    def score(self, sums):
        return eval(SCORED, {"sums": sums})
"""


@pytest.mark.parametrize(
    ("wrong", "scored", "reason"),
    [
        ("rows", "sums", ""),
        ("rows[:1]", "sums", r"statistics: .*\[1, 1\], not \[2, 1\], transcripts by columns"),
        ("rows[:, 0]", "sums", r"statistics: .*\[2\], not \[2, 1\]"),
        ('rows + float("inf")', "sums", "statistics: .*gave no finite number for a; fix it"),
        ("{}[0]", "sums", "statistics: KeyError: 0; fix it"),
        ("rows", "sums.sum()", r"score: .*an array \[\], not \[1\], scores of sums \[1\]"),
        ("rows", "[[]]", r"score: .*not \[1\]"),
    ],
)
def test_a_metric_with_a_wrong_shape_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str, scored: str, reason: str
) -> None:
    name = f"words{abs(hash((wrong, scored)))}"
    (tmp_path / f"{name}.py").write_text(f"WRONG, SCORED = {wrong!r}, {scored!r}{METRIC}")
    monkeypatch.syspath_prepend(str(tmp_path))
    metric = metrics_of([f"{name}:Words"])[-1]
    texts = {"a": "a dog", "b": ""}

    def sums() -> dict[str, Any]:
        part = statistics_of(metric, metric.statistics, texts, {})
        return joined([metric], [part]).corpus()

    if not reason:
        assert sums() == {"words": 2}
        return
    with pytest.raises(UserError, match=rf"^scoring: metrics: {name}:Words: {reason}"):
        sums()


def test_invalid_options_of_a_class_give_one_line_before_the_run(
    tmp_path: Path, classes: None, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = {"kind": "python", "label": "mine", "entry": "theirs:Given", "options": {"wat": 1}}
    job = {"name": "a", "dataset": {"name": "scenes"}, "limit": 1, "systems": [wrong]}
    (tmp_path / "job.yaml").write_text(json.dumps(job))
    command = [str(tmp_path / "job.yaml"), "--runs", str(tmp_path / "runs")]
    for arguments in (["run", *command, "--dry-run"], ["run", *command], ["doctor", command[0]]):
        assert main(arguments) == 2
        output = "".join(capsys.readouterr())
        assert "mine: options: theirs.Given takes (device, what) (" in output
        assert "'wat'" in output or "'what'" in output
    own = OwnAsr(backend="theirs:Heard", options={"wat": 1})
    with pytest.raises(UserError, match=r"asr\.backend: options: theirs\.Heard takes"):
        own.check()
    PythonGenerator(_python("theirs:Given", what="", device="cpu"), "cuda")


def _two_of_one_name(tmp_path: Path) -> Dataset:
    items = tuple(Item(f"{f}1", tmp_path / f / "1.png", (Caption("a dog"),)) for f in "ab")
    return Dataset("d", "s", "none", items, digest="0")


@pytest.mark.parametrize(
    ("file", "remedy"),
    [
        ("{stem}.wav", r"write file: '\{id\}.wav' and name the files so"),
        ("all.wav", r"write file: '\{id\}.wav' and name the files so"),
    ],
)
def test_one_file_for_two_items_is_refused(tmp_path: Path, file: str, remedy: str) -> None:
    data = _two_of_one_name(tmp_path)
    spec = WavsSystem(kind="wavs", label="w", folder=tmp_path, file=file)
    with pytest.raises(
        UserError, match=rf"w: .*\.wav is the speech of 2 items: a1 and b1; {remedy}"
    ):
        spec.content(Lookup(data))
    spec.model_copy(update={"file": "{id}.wav"}).content(Lookup(data))


def test_a_mapping_that_does_not_fit_the_data_is_reported(tmp_path: Path) -> None:
    data = _two_of_one_name(tmp_path)
    mapping = tmp_path / "map.csv"
    spec = WavsSystem(kind="wavs", label="w", folder=tmp_path, mapping=mapping)
    mapping.write_text("item,file\na1,1.wav\nB1,1.wav\nc1,1.wav\n")
    assert list(spec.unmatched(data.items, data)) == [
        f"1 of 2 items have no entry in {mapping}; first: b1",
        f"2 of 3 lines of {mapping} name no item of the data; first: B1",
    ]
    # A mapping may name a file twice on purpose.
    mapping.write_text("item,file\na1,1.wav\nb1,./1.wav\n")
    spec.content(Lookup(data))
    assert list(spec.unmatched(data.items, data)) == [
        f"{mapping}: 1.wav is the speech of 2 items: a1 and b1"
    ]
    (tmp_path / "1.wav").write_bytes(b"speech")
    (tmp_path / "2.wav").symlink_to(tmp_path / "1.wav")
    mapping.write_text("item,file\na1,1.wav\nb1,2.wav\n")
    assert list(spec.unmatched(data.items, data)) == [
        f"{tmp_path}: 2 of 2 audio files have the content of another; first: 1.wav and 2.wav"
    ]
    mapping.write_text("item,file\na1,1.wav\nb1,./1.wav\n")
    # What was left out by a limit is no excess.
    assert len(list(spec.unmatched(data.items[:1], data))) == 1


def test_a_recording_of_two_captions_is_reported(tmp_path: Path) -> None:
    said = [Caption(text, tmp_path / "1.wav") for text in ("a dog", "a dog", "two cats")]
    items = tuple(
        Item(f"i{n}", tmp_path / f"{n}.png", (caption,)) for n, caption in enumerate(said)
    )
    assert list(unmatched(items[:2], Dataset("d", "s", "none", items), [])) == []
    assert list(unmatched(items, Dataset("d", "s", "none", items), [])) == [
        "1 of 1 recordings have captions with different texts; first: 1.wav, for 'a dog' of i0 "
        "and 'two cats' of i2"
    ]
