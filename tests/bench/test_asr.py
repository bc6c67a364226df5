"""ASRs other than Whisper: a CTC model and a user's own class; the key `asr` of a job."""

import json
import os
import re
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
import yaml

from bench.asr.base import Transcriber
from bench.asr.ctc import CtcAsr
from bench.asr.own import OwnAsr
from bench.asr.whisper import WhisperAsr
from bench.cli import main
from bench.commands.reference import FILES
from bench.common.audio import SpeechError, Wave, read_speech
from bench.common.errors import UserError
from bench.common.jobfile import JobFile
from bench.common.yamlfile import parse
from bench.datasets.base import Dataset
from bench.execution.prepare import resolve_job
from bench.jobs.spec import Job
from bench.store.columns import schema

pytestmark = pytest.mark.slow


def _waves(scenes: Dataset, count: int) -> tuple[list[str], list[Wave]]:
    captions = [item.captions[0] for item in scenes.items[:count]]
    return [c.text for c in captions], [read_speech(c.speech, 16_000) for c in captions if c.speech]


@pytest.fixture(scope="module")
def ctc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wav2vec2 of random weights, in the files that a published one has."""
    from transformers import (
        Wav2Vec2Config,
        Wav2Vec2CTCTokenizer,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2ForCTC,
        Wav2Vec2Processor,
    )

    folder = tmp_path_factory.mktemp("ctc")
    vocabulary = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "|": 4, "A": 5, "B": 6}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    torch.manual_seed(0)
    size = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = Wav2Vec2ForCTC(
        Wav2Vec2Config(vocab_size=7, intermediate_size=32, **size, num_conv_pos_embeddings=16)
    )
    model.save_pretrained(folder)
    tokenizer = Wav2Vec2CTCTokenizer(str(folder / "vocab.json"), pad_token="<pad>")
    Wav2Vec2Processor(Wav2Vec2FeatureExtractor(), tokenizer).save_pretrained(folder)
    return folder


def test_ctc_text_is_the_collapsed_best_path(ctc: Path, scenes: Dataset) -> None:
    spec = CtcAsr(backend="transformers-ctc", model=str(ctc))
    transcriber: Transcriber = spec.transcriber("cpu", 1)
    _, (wave, other) = _waves(scenes, 2)
    transcribed = transcriber.transcribe([wave, other])
    assert transcriber.transcribe([wave]) == transcribed[:1]
    # By hand: Graves et al. 2006, "best path": repeats first, then blanks, go.
    values = (wave - wave.mean()) / np.sqrt(wave.var() + 1e-7)
    with torch.inference_mode():
        scores = transcriber.model(torch.from_numpy(values)[None]).logits[0]  # type: ignore[attr-defined]
    path = scores.argmax(-1).tolist()
    tokens = [c for c, before in zip(path, [None, *path], strict=False) if c not in (before, 0)]
    letters = dict(enumerate(["", "<s>", "</s>", "<unk>", " ", "A", "B"]))
    assert transcribed[0].transcript.split() == "".join(letters[c] for c in tokens).split()
    assert transcribed[0].no_speech_prob is None
    assert transcribed[0].avg_logprob < 0


def test_other_weights_are_another_asr(ctc: Path) -> None:
    spec = CtcAsr(backend="transformers-ctc", model=str(ctc))
    before = spec.facts()
    (ctc / "README.md").write_text("a card")
    assert spec.facts() == before
    (ctc / "vocab.json").write_text((ctc / "vocab.json").read_text().replace("B", "C"))
    assert spec.facts() != before


def test_a_missing_model_gives_one_line() -> None:
    with pytest.raises(UserError, match=r"asr\.model"):
        CtcAsr(backend="transformers-ctc", model="./nowhere").locate()
    with pytest.raises(ValueError, match="float16 needs a GPU"):
        WhisperAsr(arithmetic="float16").transcriber("cpu", 1)


OWN = """
class Own:
    def __init__(self, device, threads, word="a"):
        self.word = word

    def transcribe(self, waves):
        if all((wave == waves[0]).all() for wave in waves if len(wave) == len(waves[0])):
            if len({len(wave) for wave in waves}) == 1:
                raise RuntimeError(f"{len(waves)} times the same")
        return [f"{self.word} {len(wave)}" for wave in waves]


class Odd:
    def __init__(self, device, threads, gives):
        self.gives = gives

    def transcribe(self, waves):
        wrong = {"few": ["a"], "text": "ab", "bytes": [b"a", "b"], "broken": ["\\ud800", "b"]}
        return wrong[self.gives]
"""
"""One clip filled up to a batch is what `Own` refuses."""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a module of ASRs, and a job of five items that one of them transcribes."""
    (tmp_path / "own_asr.py").write_text(OWN)
    # Another test may have imported the one of its own folder.
    sys.modules.pop("own_asr", None)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    content = {
        "name": "own",
        "dataset": {"name": "scenes"},
        "limit": 5,
        "caption": 0,
        "systems": [{"kind": "recorded"}],
        "asr": {"backend": "own_asr:Own", "options": {"word": "dog"}, "batch": 4},
        "cluster": {"generators": 1, "transcribers": 1},
    }
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(content))
    return tmp_path


def test_a_user_s_own_asr_transcribes_a_run(own: Path, scenes: Dataset) -> None:
    assert main(["run", str(own / "job.yaml"), "--runs", str(own)]) == 0
    rows = pl.read_parquet(own / "own" / "rows.parquet").sort("item")
    _, waves = _waves(scenes, 5)
    # The fifth clip is alone in its batch, which the class refuses; the others are not touched.
    wanted = [f"dog {len(wave)}" for wave in waves[:4]]
    assert rows["transcript"].to_list() == [*wanted, ""]
    assert rows["reason"].to_list() == [""] * 4 + ["RuntimeError: 4 times the same"]
    # All columns of all files that it left are those of the reference.
    left = list((own / "own").rglob("*.parquet"))
    for path in left:
        name = path.relative_to(own / "own")
        (columns,) = (columns for pattern, (_, columns) in FILES.items() if name.match(pattern))
        assert pl.read_parquet_schema(path) == schema(columns), name
    assert {path.name for path in left} >= {"rows.parquet", "scores.parquet", "table1.parquet"}
    signature = json.loads((own / "own" / "summary.json").read_text())["cells"][0]["signature"]
    assert signature["asr"].startswith("own_asr:Own@")


def test_the_key_of_an_own_asr_depends_on_its_source_and_settings(own: Path) -> None:
    def key(**changes: object) -> str:
        content = yaml.safe_load((own / "job.yaml").read_text())
        content["asr"] |= changes
        (own / "other.yaml").write_text(yaml.safe_dump(content))
        return resolve_job(JobFile(own / "other.yaml"), own).cells[0].transcript_key

    keys = {key(), key(options={"word": "cat"}), key(batch=5), key(version="2")}
    (own / "own_asr.py").write_text(OWN + "\n# another\n")
    assert len(keys | {key()}) == 5


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("own_asr:Nothing", "own_asr has no Nothing"),
        ("nowhere_at_all:C", "no module 'nowhere_at_all'"),
        ("yaml:SafeLoader", r"yaml\.SafeLoader is no class with a method transcribe\(waves\)"),
    ],
)
@pytest.mark.usefixtures("own")
def test_an_entry_that_is_no_asr_gives_one_line(entry: str, reason: str) -> None:
    with pytest.raises(UserError, match=rf"^asr\.backend: .*{reason}") as caught:
        OwnAsr(backend=entry).check()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("gives", "reason"),
    [
        ("few", "1 transcripts of 2 clips"),
        ("text", "str, not a list"),
        ("bytes", "bytes for a transcript"),
        ("broken", "no text"),
    ],
)
@pytest.mark.usefixtures("own")
def test_an_own_asr_must_return_one_text_a_clip(gives: str, reason: str) -> None:
    asr = OwnAsr(backend="own_asr:Odd", options={"gives": gives}, batch=2)
    with pytest.raises(SpeechError, match=reason):
        asr.transcriber("cpu", 1).transcribe([np.zeros(9, np.float32)] * 2)


@pytest.mark.parametrize(
    ("asr", "wanted"),
    [
        ("{}", "backend='openai-whisper', batch=None, model='tiny.en'"),
        ("[{backend: faster-whisper, beam_size: 2}, {}]", "backend='faster-whisper'"),
        ("{backend: 'a.b:C', options: {x: 1}}", "backend='a.b:C'"),
        ("{backend: whisperr}", r"asr.backend: 'whisperr' is not known; did you mean"),
        ("{backend: 'a b:C'}", "asr.backend: cannot be 'a b:C': write package.module:Class"),
        ("{backend: 'a:C', model: x}", "asr.model: unknown key"),
        ("{beamsize: 5}", "asr.beamsize: unknown key; did you mean `beam_size`"),
        ("{backend: transformers-ctc}", "asr.model: is missing"),
        ("{backend: transformers-ctc, model: x, beam_size: 5}", "decodes greedily"),
        ("{backend: 5}", "asr.backend: '5' is not known; choose one of"),
        ("5", "asr: must be a mapping"),
    ],
)
def test_asr_keys_of_a_job_are_parsed(asr: str, wanted: str, tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(f"name: a\ndataset: {{name: scenes}}\nsystems: [{{kind: text}}]\nasr: {asr}\n")
    try:
        job: Job = parse(path, Job)
    except UserError as error:
        said = str(error)
    else:
        assert parse(path, Job) == Job.model_validate_json(job.model_dump_json())
        said = repr(job.asrs[0])
    assert wanted in said


def test_no_other_folder_depends_on_the_kind_of_asr() -> None:
    bench = Path(__file__).parents[2] / "bench"
    kind = re.compile(r"isinstance\([^)]*Asr\b|^\s*case \w+Asr\(|\.backend\b", re.MULTILINE)
    others = [path for path in bench.rglob("*.py") if path.parent.name != "asr"]
    assert [path for path in others if kind.search(path.read_text(encoding="utf-8"))] == []
