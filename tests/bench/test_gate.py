"""The gate's verdicts on runs whose truth is known, and what it says where it cannot judge."""

import json
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest

from bench.cli import main
from bench.commands.gate import publish, seconds
from bench.common.errors import UserError
from bench.common.resampling import Resampling
from bench.gate.bitwise import exact
from bench.gate.ci import Shown, annotations, comment, junit, shortened
from bench.gate.golden import Golden, read_golden, write_golden
from bench.gate.protocol import incomparable, other_protocol
from bench.gate.quality import judge, scores_kept
from bench.gate.verdicts import Change, Finding, Rule, Verdict, overall
from bench.gate.worst import Worst, worst_items
from bench.metrics.counted import Counted
from bench.metrics.shipped import METRICS
from bench.metrics.wer import Wer
from bench.perf.turns import Replicate, order
from bench.perf.versions import checkout, judge_speed
from bench.scoring.signature import Signature, differing
from bench.systems.decoding import DecodingSpec
from tests.evidence.rates import Said, damaged, losses, said, statistics_of

ITEMS = 200
LAST = Rule(shares=(0.25, 0.5, 0.75, 1.0), analysis=3)
CELL = "Delay at 0%, seed 0, whole, openai-whisper tiny.en"
SIGNATURE = Signature(
    data="scenes.test@0",
    references="all",
    left_out="none",
    per_image="5",
    normaliser="none",
    tokeniser="ptb",
    metrics="m",
    idf="i",
    asr="tiny.en",
    part="whole",
    codec="c",
    weights="w",
    seeds="0",
    n=0,
    failed=0,
    version="0",
)


def _golden(speech: Said, cell: str = CELL, weights: str = "w") -> Golden:
    items, counted = len(speech.length), statistics_of(speech)
    units = np.random.default_rng(3).integers(0, 256, (items, 4, 60), dtype=np.int16)
    rows = pl.DataFrame(
        {
            "cell": [cell] * items,
            "item": [f"i{number:04d}" for number in range(items)],
            "status": ["ok"] * items,
            "transcript": [f"words {number}" for number in range(items)],
            "seconds": 0.35 * speech.length,
            "silent": [False] * items,
            "ended": [True] * items,
            "units": [of_item.tobytes() for of_item in units],
            "codebooks": pl.Series([4] * items, dtype=pl.Int32),
            "values": counted.values.tolist(),
        }
    )
    signatures = {cell: replace(SIGNATURE, weights=weights)}
    return Golden(
        job="gate",
        machine="simulated",
        signatures=signatures,
        columns={cell: counted.columns},
        rows=rows,
    )


@pytest.fixture(scope="module")
def golden() -> Golden:
    return _golden(said(ITEMS, np.random.default_rng(0)))


def _with(golden: Golden, **columns: object) -> Golden:
    return replace(golden, rows=golden.rows.with_columns(**columns))


def _worse(golden: Golden) -> Golden:
    speech = said(ITEMS, np.random.default_rng(0))
    return _golden(damaged(speech, losses()[0], np.random.default_rng(1)))


def _renamed(golden: Golden) -> Golden:
    """A second cell with other weights, that gave the first one's units."""
    other = {"other": replace(SIGNATURE, weights="v")}
    rows = pl.concat([golden.rows, golden.rows.with_columns(cell=pl.lit("other"))])
    columns = {**golden.columns, "other": golden.columns[CELL]}
    signatures = {**golden.signatures, **other}
    return replace(golden, rows=rows, signatures=signatures, columns=columns)


SOME = pl.int_range(pl.len()) < 20
INJURIES: dict[str, Callable[[Golden], Golden]] = {
    "composite": _worse,
    "mean duration": lambda g: _with(g, seconds=pl.col("seconds") * 0.7),
    "silent": lambda g: _with(g, silent=SOME),
    "failed": lambda g: _with(g, status=pl.when(SOME).then(pl.lit("failed")).otherwise("status")),
    "no end of speech": lambda g: _with(g, ended=~SOME),
    "coverage": lambda g: replace(g, rows=g.rows.head(ITEMS - 1)),
    "fresh output": lambda g: replace(g, signatures={CELL: replace(SIGNATURE, weights="new")}),
}


def _judged(golden: Golden, head: Golden, items: Sequence[str], rule: Rule) -> list[Finding]:
    return judge(golden, head, items, rule=rule, known=METRICS, resampling=Resampling())


def _items(golden: Golden) -> list[str]:
    return golden.rows["item"].unique(maintain_order=True).to_list()


def test_a_run_is_as_good_as_itself(golden: Golden) -> None:
    for items in (_items(golden), _items(golden)[:12]):
        assert overall(_judged(golden, golden, items, Rule())) == Verdict.PASS
    assert overall(exact(golden, golden, _items(golden))) == Verdict.PASS


@pytest.mark.parametrize("what", INJURIES)
def test_an_injury_is_a_regression(golden: Golden, what: str) -> None:
    findings = _judged(golden, INJURIES[what](golden), _items(golden), LAST)
    assert what in {finding.what for finding in findings if finding.verdict == Verdict.REGRESSED}


def test_no_score_is_significantly_worse_under_a_plain_pass() -> None:
    before = statistics_of(said(ITEMS, np.random.default_rng(0)))
    values = before.values.copy()
    place = next(n for n, name in enumerate(before.columns) if name.startswith("ROUGE-L"))
    values[:, place] *= 0.9
    margins = {CELL: {"BLEU-4": 2.0}}
    (finding,) = scores_kept({CELL: (before, before.with_values(values))}, margins, Resampling())
    assert finding.verdict == Verdict.INCONCLUSIVE
    was = {name: float(score) for name, score in before.corpus().items()}
    rouge, bleu = was["ROUGE-L"], was["BLEU-4"]
    changes = {change.score: change for change in finding.changes}
    assert changes["ROUGE-L"].words.startswith(
        f"{rouge:.2f} → {0.9 * rouge:.2f}, not gated, significantly worse (adjusted p <0.001)"
    )
    assert changes["BLEU-4"].words == f"{bleu:.2f} → {bleu:.2f}, margin 2.00"
    assert finding.detail == "significantly worse: ROUGE-L"
    (same,) = scores_kept({CELL: (before, before)}, margins, Resampling())
    (line,) = shortened(
        [same, Finding(cell=CELL, what="composite", verdict=Verdict.PASS, detail="")]
    )
    assert (line.what, line.verdict, line.changes) == ("2 of 2 checks", Verdict.PASS, same.changes)


@pytest.mark.parametrize("columns", ["", "40", "72", "200"])
def test_verdicts_can_be_read_at_any_width(
    columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    change = Change(score="BLEU-4", before=36.62, now=35.0, margin=2.0)
    scores = Finding(cell=CELL, what="scores", verdict=Verdict.PASS, detail="", changes=(change,))
    worse = Finding(
        cell=CELL,
        what="silent",
        verdict=Verdict.REGRESSED,
        detail="20 of 48, was 0 of 48, may rise by 1%",
    )
    publish([scores, worse], Shown(), "", None)
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= min(int(columns or 100), 100) for line in lines)
    text = " ".join(" ".join(lines).split())
    assert text.startswith(f"REGRESSED {CELL}: silent: 20 of 48")
    assert text.count("BLEU-4 36.62 → 35.00, margin 2.00") == 1
    assert f"PASS {CELL}: 1 of 2 checks" in text


def test_more_errors_are_worse_and_fewer_are_not() -> None:
    errors = np.stack([np.full(ITEMS, 2.0), np.full(ITEMS, 10.0)], axis=1)
    few, many = (Counted((Wer(),), errors * np.array([share, 1])) for share in (1, 3))
    findings = [
        scores_kept({CELL: (few, many)}, {CELL: {}}, Resampling())[0],
        scores_kept({CELL: (many, few)}, {CELL: {}}, Resampling())[0],
    ]
    assert [finding.verdict for finding in findings] == [Verdict.INCONCLUSIVE, Verdict.PASS]
    assert "significantly worse" in findings[0].detail


def test_outputs_of_another_cell_are_stale(golden: Golden) -> None:
    both = _renamed(golden)
    findings = [f for f in _judged(both, both, _items(golden), Rule()) if f.what == "fresh output"]
    assert [f.verdict for f in findings] == [Verdict.REGRESSED] * 2


def test_few_items_that_differ_settle_nothing(golden: Golden) -> None:
    rng = np.random.default_rng(4)
    other = _golden(said(ITEMS, rng))
    findings = _judged(golden, other, _items(golden)[:12], Rule())
    assert overall(findings) == Verdict.INCONCLUSIVE
    assert "composite" in {f.what for f in findings if f.verdict == Verdict.INCONCLUSIVE}


def test_one_speech_without_an_end_is_chance_one_silent_is_not(golden: Golden) -> None:
    first = pl.int_range(pl.len()) < 1
    items = _items(golden)[:12]
    for column, verdict in (("ended", Verdict.INCONCLUSIVE), ("silent", Verdict.REGRESSED)):
        head = _with(golden, **{column: ~first if column == "ended" else first})
        assert overall(_judged(golden, head, items, Rule())) == verdict


def test_three_items_are_not_sure_of_a_duration(golden: Golden) -> None:
    # The mean moves by 13 standard errors. At the level of a guard, 0.25% a side, Student's bound
    # with 2 degrees of freedom is 14.1; the approximation that stood here before gave 11.7.
    items = _items(golden)[:3]
    longer = 1 + np.sqrt(3) / 13 * np.array([-1.0, 0.0, 1.0])
    before = _with(golden, seconds=pl.lit(2.0))
    after = _with(golden, seconds=pl.Series([*(2.0 + longer), *[2.0] * (ITEMS - 3)]))
    (duration,) = (f for f in _judged(before, after, items, Rule()) if f.what == "mean duration")
    assert duration.verdict == Verdict.INCONCLUSIVE


def test_a_changed_unit_is_found_at_its_frame(golden: Golden) -> None:
    (name,) = golden.rows["cell"].unique().to_list()
    units = np.frombuffer(golden.rows["units"][3], dtype=np.int16).reshape(4, -1).copy()
    units[2, 17] ^= 1
    changed = golden.rows["units"].to_list()
    changed[3] = units.tobytes()
    rows = golden.rows.with_columns(units=pl.Series(changed, dtype=pl.Binary))
    (finding,) = exact(golden, replace(golden, rows=rows), _items(golden))
    assert finding.cell == name
    assert finding.detail == f"1 of {ITEMS} items changed; i0003: first differing frame 17"
    (finding,) = exact(golden, _worse(golden), _items(golden))
    assert "the same transcript, but other values" in finding.detail


def test_what_cannot_be_compared_is_said(golden: Golden) -> None:
    assert incomparable(golden, golden) == ""
    other = {n: replace(s, asr="base.en") for n, s in golden.signatures.items()}
    said = incomparable(golden, replace(golden, signatures=other))
    assert "The ASR is base.en; that of the golden is tiny.en." in said
    (name,) = golden.signatures
    assert incomparable(golden, replace(golden, signatures={})) == (
        f"The golden has the cell {name}, which this job lacks."
    )


@pytest.mark.parametrize(
    ("golden_at", "at", "difference"),
    [
        ("temperature 0.5", "temperature 1", ("temperature 1", "temperature 0.5")),
        ("temperature 0, guidance 2", "temperature 0", ("guidance 1", "guidance 2")),
        ("temperature 1", "temperature 1, candidates 4", ("candidates 4", "candidates 1")),
        (
            "temperature 0.3, 1, 1, 1, guidance 2",
            "temperature 0",
            ("temperature 0 and guidance 1", "temperature 0.3, 1, 1, 1 and guidance 2"),
        ),
    ],
)
def test_other_decodings_are_told_in_a_sentence(
    golden_at: str, at: str, difference: tuple[str, str]
) -> None:
    cells = [{f"Delay at 0%, seed 0, {axis}, whole": SIGNATURE} for axis in (golden_at, at)]
    assert other_protocol(*cells) == (
        f"Delay at 0%: This job decodes with {difference[0]}; "
        f"the golden was recorded with {difference[1]}. "
        "A gate compares runs of one decoding; pixvox compare compares two decodings."
    )
    longer = [{CELL: replace(SIGNATURE, decoding=f"max_seconds={n}")} for n in (6, 3)]
    assert "decodes with max seconds 3; the golden was recorded with max seconds 6." in (
        other_protocol(*longer)
    )


def test_a_golden_never_changes(golden: Golden, tmp_path: Path) -> None:
    path = write_golden(golden, tmp_path)
    assert write_golden(golden, tmp_path) == path
    again = read_golden(path)
    assert again.rows.equals(golden.rows)
    assert again.signatures == golden.signatures
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(UserError, match=r"changed since it was made|not a golden"):
        read_golden(path)


def test_no_golden_of_this_machine_never_passes(
    golden: Golden, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = Path(__file__).parents[2] / "jobs" / "demo.yaml"
    assert main(["gate", str(job), "--baseline", str(tmp_path)]) == 4
    # A long path wraps the line.
    assert "no golden of demo" in " ".join(capsys.readouterr().out.split())
    write_golden(replace(golden, job="demo", machine="another"), tmp_path)
    assert main(["gate", str(job), "--baseline", str(tmp_path)]) == 4
    said = " ".join(capsys.readouterr().out.split())
    assert "made on another; this machine is" in said
    assert "add --any-machine to judge its scores here, or make a golden here (--accept)." in said
    assert main(["gate", str(job), "--baseline", str(tmp_path), "--exact"]) == 4
    said = " ".join(capsys.readouterr().out.split())
    assert "--exact needs the golden's machine." in said
    out = tmp_path / "out"
    command = ["gate", str(job), "--baseline", str(tmp_path), "--allow-inconclusive"]
    assert main([*command, "--out", str(out)]) == 4
    assert json.loads((out / "badge.json").read_text())["message"] == "inconclusive"
    assert main(["gate", str(job), "--baseline", str(tmp_path), "--exact", "--any-machine"]) == 4
    assert main(["gate", str(job), "--margin", "2"]) == 2
    assert "write a share of the score, such as 5%" in capsys.readouterr().err
    assert main(["gate", str(job), "--budget", "soon"]) == 2
    assert "write a number and s, m or h" in capsys.readouterr().err
    assert seconds("1.5m") == 90


def test_hostile_speech_is_inert_where_ci_shows_it(golden: Golden) -> None:
    hostile = "\n::error::x</testcase> | <b>[a](b) %0A \uffff\ud800 @org https://a www.b"
    head = INJURIES["silent"](golden)
    findings = [replace(f, cell=hostile) for f in _judged(golden, head, _items(golden), Rule())]
    suite = ElementTree.fromstring(junit(findings))
    assert suite.attrib["failures"] == str(len(suite.findall("testcase/failure"))) != "0"
    assert all(line.count("::error") == 1 and "\n" not in line for line in annotations(findings))
    transcribed = Worst(hostile, "i", hostile, "")
    items = Shown([transcribed], [("audio/1-before.wav", "")], "http://h/)x y")
    text = comment(findings, items, hostile)
    assert "<b>" not in text
    assert "@org" not in text
    assert text.count("https://") == text.count("www.") == 0
    assert "\\[a\\]\\(b\\)" in text
    assert "([listen](http://h/%29x%20y/audio/1-before.wav)) | \\(nothing\\) |" in text


def test_the_worst_items_are_those_that_fell_most(golden: Golden) -> None:
    values = golden.rows["values"].to_list()
    cider = golden.columns[CELL].index("CIDEr: score")
    for index, keep in ((5, 0.0), (9, 0.5)):
        values[index] = [v * keep if n == cider else v for n, v in enumerate(values[index])]
    worst = worst_items(golden, _with(golden, values=pl.Series(values)), METRICS)
    assert [item.item for item in worst] == ["i0005", "i0009"]


def _replicates(factor: float, noise: float, steps: int = 50, peak: float = 500) -> list[Replicate]:
    rng = np.random.default_rng(2)
    counters = {"decoder steps": steps, "tokens": 900}
    times = factor * np.exp(rng.normal(0, noise, 8))
    return [Replicate("w", {"decoding": [time] * 3}, peak, counters) for time in times.tolist()]


@pytest.mark.parametrize(
    ("factor", "noise", "canaries", "verdict"),
    [
        (1.0, 0.01, [1.0, 1.02], Verdict.PASS),
        (1.1, 0.01, [1.0, 1.02], Verdict.REGRESSED),
        (1.1, 0.01, [1.0, 1.5], Verdict.INCONCLUSIVE),
        (1.03, 0.3, [1.0, 1.02], Verdict.INCONCLUSIVE),
    ],
)
def test_speed_is_judged_only_on_a_quiet_machine(
    factor: float, noise: float, canaries: list[float], verdict: Verdict
) -> None:
    before = _replicates(1.0, noise)
    after = _replicates(factor, 0.01)
    verdicts = {f.what: f.verdict for f in judge_speed(before, after, canaries)}
    assert verdicts["time of decoding"] == verdict
    assert verdicts["decoder steps"] == Verdict.PASS


def test_counters_are_gated_exactly() -> None:
    before, after = _replicates(1.0, 0.01), _replicates(1.0, 0.01, steps=51, peak=511)
    findings = {f.what: f.verdict for f in judge_speed(before, after, [1.0, 1.0])}
    assert findings["decoder steps"] == Verdict.REGRESSED
    assert findings["peak memory"] == Verdict.REGRESSED
    assert findings["tokens"] == Verdict.PASS
    other = [replace(replicate, weights="v") for replicate in after]
    findings = {f.what: f.verdict for f in judge_speed(before, other, [1.0, 1.0])}
    assert findings["decoder steps"] == Verdict.PASS


def test_a_base_is_checked_out_without_an_entry_in_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> str:
        who = ("-c", "user.name=A", "-c", "user.email=a@b")
        return subprocess.run(
            ["git", *who, *arguments], check=True, capture_output=True, text=True
        ).stdout

    monkeypatch.chdir(tmp_path)
    git("init", "--quiet")
    for text in ("old", "new"):
        Path("file").write_text(text)
        git("add", "file")
        git("commit", "--quiet", "-m", text)
    with checkout("HEAD~1") as folder:
        assert (folder / "file").read_text() == "old"
        assert len(git("worktree", "list").splitlines()) == 1
    for wrong in ("nowhere", "--all"):
        with pytest.raises(UserError, match=f"--base.*{wrong}"), checkout(wrong):
            pass
    assert Path("file").read_text() == "new"


def test_a_drift_meets_all_alike() -> None:
    # Twice forwards, twice backwards: the mean place of every way is the same.
    places = np.array([[order(3, turn).index(way) for way in range(3)] for turn in range(6)])
    assert places.mean(0).tolist() == [1, 1, 1]


def test_no_golden_judges_another_decoding_and_a_board_takes_any() -> None:
    ways = DecodingSpec(), DecodingSpec(max_seconds=3), DecodingSpec(temperature=0.3, candidates=16)
    signed = [asdict(replace(SIGNATURE, decoding=way.decoding_signature())) for way in ways]
    assert signed[2]["decoding"] == "temperature=0.3,candidates=16,max_seconds=6,slots=32"
    for other in signed[1:]:
        assert differing(signed[0], other, "gate") == "decoding"
        assert differing(signed[0], other, "board") is None
    again = DecodingSpec(seed=4).decoding_signature()
    assert again == signed[0]["decoding"]
