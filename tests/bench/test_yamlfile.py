"""Job files: strict YAML, and all errors reported with the paths of their keys."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.cli import main
from bench.common.errors import UserError
from bench.common.strictyaml import MAX_BYTES, read_yaml
from bench.common.yamlfile import parse, validate
from bench.jobs.spec import MAX_CELLS, Job
from bench.training.spec import TrainingJob

pytestmark = pytest.mark.slow

HEAD = "name: a\ndataset: {name: scenes}\n"
PLAIN = HEAD + "systems: [{kind: recorded}]\n"


def _system(text: str) -> str:
    return f"{HEAD}systems: [{{{text}}}]"


MODEL = "kind: pixvox, label: a, weights: b"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("yes", "yes"),
        ("off", "off"),
        ("010", "010"),
        ("1:30", "1:30"),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("2026-01-01", "2026-01-01"),
        ("-3", -3),
        ("1e-3", 0.001),
        (".5", 0.5),
        ("~", None),
        ("'010'", "010"),
        ("[1, 2.0, x]", [1, 2.0, "x"]),
    ],
)
def test_plain_values_are_parsed(text: str, value: Any) -> None:
    parsed = read_yaml(f"a: {text}", "x")["a"]
    assert parsed == value
    assert type(parsed) is type(value)


BOMB = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: 1\nb: 2\na: 3", "line 3: the key 'a' occurs twice"),
        ("a: {b: 1, b: 1}", "line 1: the key 'b' occurs twice"),
        ("a: .inf", "line 1: '.inf' is not a finite number"),
        ("a: .nan", "'.nan' is not a finite number"),
        ("a: 1e999", "'1e999' is not a finite number"),
        ("a: " + "9" * 5000, "a number of 5000 digits"),
        ("1: a", "a key is text, not 1"),
        ("a: !!int x", "'x' is not a whole number"),
        ("a: !!timestamp 2026-01-01", "the tag"),
        ("a: !!python/name:os.system x", "the tag"),
        ("a: &x [*x]", "an alias inside its own anchor"),
        (BOMB, "more than 100,000 values"),
        ("[" * 5000, "nested too deeply"),
        ('a: "\\UFFFFFFFF"', "not readable as YAML"),
        ('a: "\\ud800"', "half of a surrogate pair"),
        ("a: \x00", "not readable as YAML"),
        ("a: 1\n---\na: 2", "another document"),
        ("", "is empty"),
    ],
    ids=lambda value: value[:30],
)
def test_ambiguous_yaml_is_refused(text: str, reason: str) -> None:
    with pytest.raises(UserError, match=r"^job\.yaml: ") as caught:
        read_yaml(text, "job.yaml")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("name: [", ["not readable as YAML: line 1"]),
        ("[]", ["the file: must be a mapping"]),
        (HEAD + "systems: []", ["systems: must have at least 1 entry"]),
        (HEAD + "systems: [3]", ["systems[0]: must be a mapping, such as {key: value}, not 3"]),
        (PLAIN + "limt: 3", ["limt: unknown key; did you mean `limit`?"]),
        (PLAIN + "metrics: [bleu]", ["metrics: unknown key; it stands under `scoring`"]),
        (PLAIN + "limit: true", ["limit: must be a whole number, not true"]),
        (PLAIN + "limit: 010", ["limit: must be a whole number, not '010'"]),
        (PLAIN + "limit: 1:30", ["limit: must be a whole number, not '1:30'"]),
        (PLAIN + "limit: 3.0", ["limit: must be a whole number, not 3"]),
        (PLAIN + "limit: 0", ["limit: must be at least 1, not 0"]),
        ("name: ../a\n" + PLAIN[8:], ["name: cannot be '../a': its run's folder"]),
        (f"name: {'a' * 300}\n{PLAIN[8:]}", ["name: must have at most 100 characters"]),
        ("name: 2026-01-01x\ndataset: {name: coco}\nsystems: []", ["dataset.name: 'coco' is not"]),
        (
            _system("kind: pixvx, label: a"),
            ["systems[0].kind: 'pixvx' is not known; did you mean `p"],
        ),
        (_system("label: a"), ["systems[0].kind: is missing; choose one of cascade, copied"]),
        (
            _system("kind: pixvox, label: a, weight: b, decoding: {temprature: 1, seed: -1}"),
            [
                "4 errors: (1) systems[0].weights: is missing",
                "systems[0].weight: unknown key; did you mean `weights`?",
                "systems[0].decoding.temprature: unknown key; did you mean `temperature`?",
                "systems[0].decoding.seed: must be at least 0, not -1",
            ],
        ),
        (_system(MODEL + ", prompts: []"), ["systems[0].prompts: must have at least 1 entry"]),
        (_system(MODEL + ", prompts: [0, 1]"), ["systems[0].prompts[1]: must be less than 1"]),
        (_system(MODEL) + "\ncaption: 10000000000", ["caption: must be at most 999"]),
        (
            _system(MODEL + ", decoding: {max_seconds: 1.0e9}"),
            ["max_seconds: must be at most 30, not 1e+09: the ASR takes 30 s of speech at once"],
        ),
        (
            _system(MODEL + ", decoding: {temperature: 1.0e-30}"),
            ["temperature: must be 0 (greedy) or"],
        ),
        (
            _system(MODEL + ", decoding: {temperature: [0.3, -1], guidance: [2, x], top_k: a}"),
            [
                "3 errors: ",
                "temperature[1]: must be 0 (greedy) or",
                "guidance[1]: must be a number, not 'x'",
                "top_k: must be a whole number, not 'a' or must be a list",
            ],
        ),
        (
            _system(MODEL + ", decoding: {slots: 33, lanes: 2}"),
            ["decoding.lanes: must divide the 33"],
        ),
        (
            _system(MODEL + ", decoding: {candidates: 4}"),
            ["decoding.candidates: more than 1 need a temperature"],
        ),
        (_system(MODEL + ", decoding: {slots: 100000}"), ["slots: must be at most 4,096"]),
        (_system("kind: silence, seconds: 0"), ["systems[0].seconds: must be at least 0.1"]),
        (_system("kind: noise, level: -1000"), ["systems[0].level: must be at least -120"]),
        (_system('kind: text, label: "a\\nb"'), ["systems[0].label: must be one line"]),
        (_system(f"kind: text, label: {'ä' * 101}"), ["systems[0].label: must have at most 100"]),
        (
            _system("kind: prompt, codec: a, bandwidth: 0"),
            ["systems[0].bandwidth: must be more than"],
        ),
        (
            _system('kind: wavs, label: a, folder: "a\\0b"'),
            ["systems[0].folder: a path cannot hold"],
        ),
        (_system(f"kind: wavs, label: a, folder: {'a' * 300}"), ["too long for a file system"]),
        (
            _system("kind: python, label: a, entry: os"),
            ["systems[0].entry: cannot be 'os': write pa"],
        ),
        (
            _system("kind: python, label: a, entry: 'a:B', options: {x: [1]}"),
            ["[0].options.x: must be"],
        ),
        (PLAIN + "asr: {backend: wisper}", ["asr.backend: 'wisper' is not known; did you mean"]),
        (PLAIN + "asr: [{batch: 0}, {}]", ["asr[0].batch: must be at least 1"]),
        (PLAIN + "asr: {beam_size: 1000}", ["asr.beam_size: must be at most 64"]),
        (
            PLAIN + "scoring: {replicates: 1000000000000}",
            ["scoring.replicates: must be at most 100"],
        ),
        (PLAIN + "scoring: {confidence: 1}", ["scoring.confidence: must be at most 0.999"]),
        (PLAIN + "scoring: {normaliser: [none, wisper]}", ["normaliser[1]: 'wisper' is not known"]),
        (PLAIN + "cluster: {generators: 100000000}", ["cluster.generators: must be at most 1,000"]),
        (
            PLAIN + "cluster: {transcribers: 100000000}",
            ["cluster.transcribers: must be at most 1,000"],
        ),
        (
            PLAIN + "cluster: {deadline_seconds: 1000000000000}",
            ["cluster.deadline_seconds: must be"],
        ),
        (
            PLAIN + "grid: {include: [{system: recorded spech}]}",
            ["grid: there is no system 'recorded spech'; did you mean `recorded speech`?"],
        ),
        (PLAIN + "grid: {seed: [-1], temperature: [-1]}", ["grid.seed[0]", "grid.temperature[0]"]),
        (
            "\n".join(f"k{n}: 1" for n in range(30)),
            ["33 errors: (1) name: is missing", "and 23 more"],
        ),
    ],
)
def test_all_errors_of_a_job_are_reported_with_their_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, messages: list[str]
) -> None:
    job = tmp_path / "job.yaml"
    job.write_text(text)
    assert main(["run", str(job), "--runs", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"pixvox: {job}: ")
    assert error.count("\n") == 1
    for message in messages:
        assert message in error
    for jargon in ("Spec", "union", "tuple", "literal", "Input should", "pydantic", "Extra"):
        assert jargon not in error


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: vision\noutput: x\nimages: 0\nplan: {}", "images: must be at least 1"),
        ("kind: vision\noutput: x\nimages: 1\nplan: {stps: 1}", "plan.stps: unknown key; did you"),
        ("kind: vision\noutput: x\nimages: 1\nplan: {batch: 0}", "plan.batch: must be from 1 to"),
        ("kind: vision\noutput: x\nimages: 1\nplan: {steps: 1.5}", "plan.steps: must be a whole"),
        ("kind: vision\noutput: x\nimages: 1\nplan: {seed: -1}", "plan.seed: must be from 0"),
        (
            "kind: codec\noutput: x\nclips: 1\nplan: {}\ndata: {train_images: -1}",
            "data.train_images",
        ),
        ("kind: codec\noutput: x\nclips: 1\nplan: {}\ndata: {name: coco}", "data.name: 'coco' is"),
    ],
)
def test_all_errors_of_a_training_job_are_reported(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "job.yaml").write_text(text)
    with pytest.raises(UserError) as caught:
        parse(tmp_path / "job.yaml", TrainingJob)
    assert message in str(caught.value)


def test_a_grid_is_counted_before_it_is_expanded(tmp_path: Path) -> None:
    axis = ", ".join(map(str, range(1000)))
    shares = ", ".join(f"0.{n:04}1" for n in range(1000))
    (tmp_path / "job.yaml").write_text(
        f"{_system(MODEL)}\ngrid: {{seed: [{axis}], top_k: [{axis}], prompt: [{shares}]}}"
    )
    with pytest.raises(UserError, match=f"grid: makes 1,000,000,000 cells.*{MAX_CELLS:,}"):
        parse(tmp_path / "job.yaml", Job)


def test_a_file_that_is_no_text_gives_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"#" * (MAX_BYTES + 1))
    (tmp_path / "latin").write_bytes("name: é".encode("latin-1"))
    (tmp_path / "job.yaml").write_text(PLAIN)
    (tmp_path / "loop").symlink_to("loop")
    cases = {
        "pipe": "is not a plain file",
        "large": "at most 262,144 are read",
        "latin": "not UTF-8 at byte 6",
        "": "is a folder",
        "job.yaml/x": "no such file",
        "missing": "no such file",
        "loop": "not readable",
    }
    for name, reason in {**cases, "/dev/zero": "is not a plain file"}.items():
        assert main(["run", str(tmp_path / name), "--runs", str(tmp_path)]) == 2
        error = capsys.readouterr().err
        assert reason in error
        assert error.count("\n") == 1


KEYS = [
    *("name", "dataset", "systems", "kind", "label", "weights", "grid", "asr", "prompts"),
    *("seed", "decoding", "root", "file", "codec", "bandwidth"),
]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["pixvox", "recorded", "scenes", "flickr8k", "text", "wavs", "units"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inner, max_size=6)
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(content=st.dictionaries(st.sampled_from(["name", "dataset", "systems", "grid"]), VALUES))
def test_any_content_is_a_job_or_gives_one_line(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, Any]
) -> None:
    for kind in (Job, TrainingJob):
        with suppress(UserError):
            validate(json.loads(json.dumps(content)), kind, "job.yaml")
