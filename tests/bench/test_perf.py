"""The benchmarks run and compare what their names say."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.cli import main
from bench.common.resampling import Resampling
from bench.gate.golden import read_golden
from bench.gate.power import FEWEST, POWER, certificate, measured
from bench.gate.protocol import groups
from bench.gate.quality import judge
from bench.gate.verdicts import Rule, Verdict, overall
from bench.metrics.shipped import METRICS
from bench.perf import gpu
from bench.perf.decode import floor_seconds
from bench.perf.eager import as_blip_text, eager_greedy
from bench.perf.turns import Way, WayError, one_round
from pixvox.configuration import PixVoxConfig
from pixvox.decoding.engine import Engine
from pixvox.decoding.requests import Request
from pixvox.decoding.sampling import Decoding
from pixvox.modeling import PixVoxLM
from tests.evidence import invariance
from tests.evidence.gates import chance_found, chance_passed
from tests.evidence.rates import LOSS, points
from tests.evidence.stored import read_stored, simulated

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
WEIGHTS = "zoo:pixvox-tiny-delay"


def test_the_engine_gives_what_transformers_own_model_gives(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = tmp_path / "decode.json"
    size = ["--images", "6", "--slots", "4", "--seconds", "1", "--rounds", "1"]
    assert main(["perf", "decode", "--weights", "tiny", *size, "--save", str(saved)]) == 0
    result = json.loads(saved.read_text())
    assert result["greedy_units_equal_to_eager"] == result["speeches"] == 6
    assert [row["way"] for row in result["rows"]][:2] == ["eager", "engine"]
    assert "of the floor" in capsys.readouterr().out


def test_the_comparison_projects_image_states_as_the_engine_does() -> None:
    torch.manual_seed(0)
    vision = {"model_type": "vit", "hidden_size": 96, "num_hidden_layers": 1}
    vision |= {"num_attention_heads": 2, "intermediate_size": 64}
    vision |= {"image_size": 32, "patch_size": 16}
    config = PixVoxConfig.tiny(vision_config=vision, image_projection=True)
    model = PixVoxLM(config).eval()
    states = torch.randn(2, config.image_positions, config.image_state_size)
    expected, _ = eager_greedy(model, as_blip_text(model), states, frames=10)
    none = torch.zeros(config.num_codebooks, 0).long()
    decoding = Decoding(max_seconds=10 / config.frame_rate, temperature=0)
    requests = [Request(item=str(row), image=row, prompt=none) for row in range(2)]
    generated = Engine(model, decoding).generate(states, requests)
    assert all(torch.equal(a, b.units) for a, b in zip(expected, generated, strict=True))


def test_without_a_gpu_no_check_is_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(course: gpu.Course) -> gpu.Finding:
        raise RuntimeError("CUDA error: an illegal memory access\nhints follow")

    def wrong(course: gpu.Course) -> gpu.Finding:
        return gpu.Finding("1 of 2", holds=False)

    checks = (
        gpu.Check("codec", gpu.check_codec, 1),
        gpu.Check("broken", break_down, 1),
        gpu.Check("wrong", wrong, 1),
        gpu.Check("long", wrong, gpu.BUDGET_SECONDS + 1),
    )
    monkeypatch.setattr(gpu, "CHECKS", checks)
    result = gpu.measure(gpu.course_of(torch.device("cpu")), lambda *_: None)
    outcomes = [row["result"] for row in result["checks"]]
    assert outcomes == ["not proven", "FAILED", "FAILED", "not measured"]
    page = gpu.markdown(result)
    assert "There is no GPU here" in page
    assert "| broken | FAILED | RuntimeError: CUDA error: an illegal memory access |" in page


def test_checks_of_the_model_need_no_package_of_the_suite() -> None:
    code = """
import sys, torch
sys.modules |= dict.fromkeys(["ray", "polars", "pydantic", "whisper", "jiwer"])
from bench.perf import gpu
course = gpu.course_of(torch.device("cpu"))
print([gpu._outcome(check, course)[1] for check in gpu.CHECKS if check.title in sys.argv[1:]])
"""
    titles = ["image encoder", "Whisper tiny.en", "attention of variable length, bfloat16"]
    done = subprocess.run(
        [sys.executable, "-c", code, *titles], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.stdout.strip() == "['not proven', 'not measured', 'not proven']", done.stderr


@pytest.mark.evidence
def test_units_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    saved = tmp_path / "invariance.json"
    size = ["--images", "3", "--slots", "2", "--seconds", "2"]
    assert invariance.main([*size, "--save", str(saved)]) == 0
    result = json.loads(saved.read_text())
    assert set(result["company"].values()) == {0}
    assert set(result["slots"]) == {"1", "4"}


@pytest.mark.evidence
def test_a_replicate_measures_the_checkout_that_it_is_given(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    with pytest.raises(WayError, match="no pixvox of its own"):
        one_round([Way(tmp_path / "base", WEIGHTS, images=1)], 1)
    shutil.copytree(ROOT / "pixvox", tmp_path / "base" / "pixvox")
    ways = [Way(folder, WEIGHTS, images=2) for folder in (tmp_path / "base", ROOT)]
    base, head = one_round(ways, 2)
    assert [len(version.seconds["decoding"]) for version in (base, head)] == [2, 2]
    assert base.counters == head.counters
    assert base.counters["encoder calls"] == 2
    assert base.weights == head.weights


@pytest.mark.evidence
def test_stored_runs_are_injured_as_their_names_say() -> None:
    (path,) = (ROOT / "results" / "golden").glob("seeds-*.parquet")
    golden = read_golden(path)
    same = max(groups(list(golden.signatures)).values(), key=len)
    # Fewer seeds than there are: each costs seconds to score.
    judged = [name for name in golden.signatures if name not in same[5:]]
    rows = golden.rows.filter(golden.rows["cell"].is_in(judged))
    signatures = {name: golden.signatures[name] for name in judged}
    stored = read_stored(replace(golden, signatures=signatures, rows=rows))
    counted = stored.golden.counted(stored.rows, stored.cell, METRICS)
    lost = points(counted) - points(counted.with_values(stored.worse))
    assert lost == pytest.approx(LOSS, abs=0.1)
    base, heads = simulated(stored, stored.items, np.random.default_rng(0), 3, 2)
    assert (len(base.signatures), {len(head.signatures) for head in heads.values()}) == (3, {2})
    items = base.rows["item"].unique(maintain_order=True).to_list()

    def judged(name: str) -> Verdict:
        return overall(
            judge(
                base,
                heads[name],
                items,
                rule=Rule(),
                known=METRICS,
                resampling=Resampling(),
            )
        )

    assert judged("the same run") == Verdict.PASS
    assert judged("other seeds, as good") != Verdict.REGRESSED
    for name in ("truncated speech", "silent outputs", "dropped items", "another model's outputs"):
        assert judged(name) == Verdict.REGRESSED


def test_a_certificate_promises_what_the_gate_s_own_errors_give() -> None:
    (path,) = (ROOT / "results" / "golden").glob("seeds-*.parquet")
    golden = read_golden(path)
    cells = max(groups(list(golden.signatures)).values(), key=len)
    base, rule = measured(golden, cells, METRICS), Rule(shares=(1 / 3, 2 / 3, 1.0))
    least = base.findable(800, 2, rule)
    assert chance_found(base, least, images=800, seeds=2, rule=rule) == pytest.approx(POWER)
    assert chance_passed(base, 0.0, images=800, seeds=2, share=None) == pytest.approx(POWER)
    # A golden of one seed is all the luck that there is: less is found against it.
    alone = replace(base, cells=base.cells[:1])
    assert chance_found(alone, least, images=800, seeds=2, rule=rule) < POWER - 0.1


def test_a_certificate_is_a_table_with_a_line_a_cell() -> None:
    (path,) = (ROOT / "results" / "golden").glob("demo-*.parquet")
    golden, cells = read_golden(path), list(read_golden(path).signatures)
    for share, items in ((None, 48), (0.02, 12)):
        rule = Rule(share=share, shares=(1 / 3, 2 / 3, 1.0), groups=7, cells=7)
        promised = certificate(golden, cells, items, rule, known=METRICS)
        said = " ".join(promised.sentences)
        assert (
            f"{items} items a cell (whole, openai-whisper tiny.en): 1 seed, the golden has" in said
        )
        assert ("in 7 of 7 cells only with more seeds or a wider margin" in said) == bool(share)
        assert ("only the same outputs pass" in said) == (items < FEWEST)
        assert promised.table.columns == ["cell", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr", "fact F1"]
        assert promised.table["cell"][-1] == "resynthesis at 0%, 1.6 kbps"
        for row in promised.table.drop("cell").rows():
            losses, allowed = zip(*(map(float, pair.split(" / ")) for pair in row), strict=True)
            assert all(a < f for a, f in zip(allowed, losses, strict=True))


def test_the_floor_counts_the_bytes_of_a_step() -> None:
    # Section 7: 105.4M parameters a step; at B = 64, 450 steps and 3.0 TB/s, 0.70 ms in bfloat16.
    with torch.device("meta"):
        model = PixVoxLM(PixVoxConfig.base(num_codebooks=8))
    # Here in float32, so twice the bytes.
    seconds = floor_seconds(model, rows=64, images=64, positions=225, speed=3.0e12)
    assert seconds / 2 == pytest.approx(0.70e-3, rel=0.02)


def test_model_info_has_the_distance_of_each_codebook_count(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["show", "model", "base"]) == 0
    printed = capsys.readouterr().out
    assert "126.42M" in printed
    assert "+1.1% of 125M" in printed


def test_unknown_weights_give_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "model", "nowhere"]) == 2
    assert capsys.readouterr().err.startswith("pixvox: nowhere: no config.json there")
