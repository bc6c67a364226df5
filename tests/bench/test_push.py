"""A finished run goes to a hub that is served here; a card keeps all that it says."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hub import Hub, served
from huggingface_hub import constants

from bench.cli import main
from bench.common.errors import UserError
from bench.report.card import Source, updated_card

CARD = """---
license: mit  # as the code's
model-index:
- name: theirs
  results:
  - task: {type: image-to-speech}
    metrics: [{type: bleu, value: 1.0}]
# Found by search.
tags: [speech]
---
# My model

---
It speaks.
"""


def _entries(score: float, name: str = "ours") -> list[dict[str, object]]:
    metrics = [{"type": "bleu", "value": score, "name": "BLEU-4"}]
    return [{"name": name, "results": [{"task": {"type": "x"}, "metrics": metrics}]}]


def _write(run: Path, score: float = 20.0) -> None:
    files = {
        "run.json": "{}",
        "tables/table1.md": f"| {score} |",
        "tables/table1.json": "[]",
        "tables/table1.tex": "tex",
        "tables/model-index.yaml": yaml.safe_dump({"model-index": _entries(score)}),
        "rows.parquet": "rows",
        "scores.parquet": "scores",
        "speech/ours-0-1/1.wav": "RIFF",
        "ledger/part": "",
        "summary.json": json.dumps({"rows": [], "job": {"root": "/home/me"}}),
    }
    for name, text in files.items():
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text(text)


SENT = {
    f"pixvox/demo/{name}"
    for name in (
        *("tables/table1.md", "tables/table1.json", "tables/model-index.yaml"),
        *("rows.parquet", "scores.parquet", "summary.json"),
    )
}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    _write(tmp_path / "runs" / "demo")
    return tmp_path / "runs"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The hub that huggingface_hub asks, and a token for it."""
    with served() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        template = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setenv("HF_TOKEN", "hf_of_a_test")
        yield hub


def _push(runs: Path, *words: str) -> int:
    return main(["runs", "push", "demo", "me/model", "--runs", str(runs), *words])


def test_nothing_is_sent_without_yes(
    runs: Path, hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _push(runs) == 0
    shown = capsys.readouterr().out
    assert hub.requests == []
    assert "README.md: 1 result in its metadata" in shown
    assert all(f"  {name}: " in shown for name in SENT)
    assert "nothing was sent; --yes sends them" in shown


def test_a_push_keeps_the_card_and_replaces_the_run_s_own(runs: Path, hub: Hub) -> None:
    theirs = {"README.md": CARD.encode(), "model.safetensors": b"w", "pixvox/old/a.md": b"a"}
    hub.repos["models/me/model"] = dict(theirs)
    assert _push(runs, "--yes") == 0
    files = hub.repos["models/me/model"]
    assert files.keys() == {*theirs, *SENT}
    assert b"/home/me" not in b"".join(files.values())
    card = files["README.md"].decode()
    assert card.startswith("---\nlicense: mit  # as the code's\n")
    assert card.endswith(CARD[CARD.index("# Found by") :])
    # Made again: one table less, another score. Speech goes where it is asked for.
    _write(runs / "demo", score=25.0)
    (runs / "demo" / "tables" / "table1.json").unlink()
    assert _push(runs, "--yes", "--speech") == 0
    speech = "pixvox/demo/speech/ours-0-1/1.wav"
    gone = {"pixvox/demo/tables/table1.json"}
    assert files.keys() == {*theirs, *SENT, speech} - gone
    assert _push(runs, "--yes") == 0
    assert speech in files
    index = yaml.safe_load(files["README.md"].decode().split("---")[1])["model-index"]
    values = {e["name"]: [r["metrics"][0]["value"] for r in e["results"]] for e in index}
    assert values == {"theirs": [1.0], "ours": [25.0]}
    source = index[1]["results"][0]["source"]
    assert source["url"] == f"{hub.url}/me/model/tree/main/pixvox/demo"


def test_a_new_repository_is_private_where_that_is_asked(runs: Path, hub: Hub) -> None:
    assert _push(runs, "--yes", "--private", "--kind", "dataset") == 0
    assert hub.repos["datasets/me/model"].keys() == {".gitattributes", *SENT}
    assert hub.private == {"datasets/me/model"}
    hub.private.clear()
    before = hub.commits
    assert _push(runs, "--yes", "--private", "--kind", "dataset") == 2
    assert hub.commits == before


def test_refusals_are_a_line_and_a_code(
    runs: Path, hub: Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(code: int, why: str, *words: str) -> None:
        assert _push(runs, *words) == code
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1
        assert why in lines[0]

    hub.refusal = 403
    refused(2, "this token may not write to it", "--yes")
    hub.refusal = 412
    refused(3, "was changed meanwhile", "--yes")
    hub.repos["models/me/model"]["README.md"] = b"---\na: [\n---\n"
    refused(2, "README.md: its metadata is not valid YAML", "--yes")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    refused(3, "no answer", "--yes")
    monkeypatch.delenv("HF_TOKEN")
    refused(2, "there is no token", "--yes")
    (runs / "demo" / "summary.json").unlink()
    refused(2, "the run is unfinished")
    assert main(["runs", "push", "other", "me/model", "--runs", str(runs)]) == 2
    assert main(["runs", "push", "demo", "model", "--runs", str(runs)]) == 2


@pytest.mark.parametrize(
    "card",
    [
        "",
        "# No metadata\n",
        "---\n---\ntext",
        "---\nlicense: mit\n---\n",
        "---\r\nlicense: mit\r\nmodel-index: []\r\ntags: [a]\r\n---\r\ntext\r\n",
        "---\nmodel-index: [] # none yet\nlicense: mit\n---\n",
        CARD,
    ],
)
def test_all_that_a_card_says_stays(card: str) -> None:
    source = Source("pixvox run demo", "https://hub/me/model")
    changed = updated_card(updated_card(card, _entries(1.0), source), _entries(2.0), source)
    assert updated_card(changed, _entries(2.0), source) == changed
    for line in card.splitlines():
        if line not in ("model-index: []", "model-index: [] # none yet") and "{" not in line:
            assert line in changed.splitlines() or "results" in line
    metadata = yaml.safe_load(changed.split("---")[1])
    assert metadata["model-index"][-1]["results"][0]["metrics"][0]["value"] == 2.0
    assert len(metadata["model-index"][-1]["results"]) == 1
    assert ("\r\n" in changed) == ("\r\n" in card)


def test_a_model_index_of_another_form_is_refused() -> None:
    with pytest.raises(UserError, match="does not have the hub's form"):
        updated_card("---\nmodel-index: {a: 1}\n---\n", _entries(1.0), Source("a", "b"))
