"""Likelihood of recorded speech: the training's own loss, item by item, and sharp."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import torch

from bench.datasets.base import Dataset
from bench.gate.golden import Golden
from bench.gate.likelihood import judge_likelihood
from bench.gate.verdicts import Verdict
from bench.scoring.signature import Signature
from bench.systems.pixvox import PixVoxSystem
from bench.systems.resynthesis import prompt_units
from pixvox.codec.encodec import Codec
from pixvox.images import load_image
from pixvox.modeling import PixVoxLM

CELL = "delay at 0%, seed 0, whole"
SIGNATURE = Signature(
    data="d",
    references="others",
    left_out="rotating",
    per_image="4",
    normaliser="none",
    tokeniser="t",
    metrics="m",
    idf="i",
    asr="a",
    part="whole",
    codec="c",
    weights="w",
    seeds="0",
    n=3,
    failed=0,
    version="0",
)


def _spec(weights: Path | str) -> PixVoxSystem:
    return PixVoxSystem(kind="pixvox", label="delay", weights=str(weights))


def _golden(nats: dict[str, float]) -> Golden:
    rows = pl.DataFrame({"cell": CELL, "item": list(nats), "nats": list(nats.values())})
    return Golden(
        job="gate", machine="here", signatures={CELL: SIGNATURE}, columns={CELL: ()}, rows=rows
    )


def test_it_is_the_loss_that_training_lowers(scenes: Dataset) -> None:
    items = scenes.items[:3]
    likelihoods = _spec("zoo:pixvox-tiny-delay").likelihood(items, 1, "cpu")
    assert list(likelihoods) == [item.id for item in items]
    from pixvox.weights import resolve

    model = PixVoxLM.from_pretrained(resolve("zoo:pixvox-tiny-delay")).eval()
    codec = Codec.load(model.config.codec, model.config.bandwidth)
    units = [prompt_units(item, 1, 1.0, codec) for item in items]
    lengths = torch.tensor([speech.shape[1] for speech in units])
    padded = torch.stack(
        [
            torch.nn.functional.pad(speech, (0, int(lengths.max()) - speech.shape[1]))
            for speech in units
        ]
    )
    scaling = model.config.scaling
    pixels = torch.stack([load_image(item.image, scaling) for item in items])
    with torch.inference_mode():
        together = model(padded, lengths, pixel_values=pixels).loss
    # A batch's loss weighs every item by its frames and its end.
    shares = (lengths + 1) / (lengths + 1).sum()
    mean = sum(share * nats for share, nats in zip(shares, likelihoods.values(), strict=True))
    assert float(together) == pytest.approx(float(mean), rel=1e-5)


def test_a_change_of_one_percent_in_the_weights_is_seen(scenes: Dataset, copy_of_zoo: Path) -> None:
    items = scenes.items[:24]
    before = _spec("zoo:pixvox-tiny-delay").likelihood(items, "rotating", "cpu")
    golden = _golden(dict(before))
    (same,) = judge_likelihood(golden, {CELL: before}, {CELL: "w"})
    assert same.verdict == Verdict.PASS
    model = PixVoxLM.from_pretrained(copy_of_zoo)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 1 + 0.01 * torch.randn(parameter.shape, generator=generator)
    model.save_pretrained(copy_of_zoo)
    after = _spec(copy_of_zoo).likelihood(items, "rotating", "cpu")
    (finding,) = judge_likelihood(golden, {CELL: after}, {CELL: "w"})
    assert finding.verdict == Verdict.INCONCLUSIVE
    assert "the weights are the same, so the code has changed" in finding.detail


@pytest.mark.parametrize(
    ("times", "weights", "verdict"),
    [
        (1.0, "w", Verdict.PASS),
        (1.004, "new", Verdict.PASS),
        (0.9, "new", Verdict.PASS),
        (1.02, "new", Verdict.REGRESSED),
        (1.02, "w", Verdict.REGRESSED),
        (0.9, "w", Verdict.INCONCLUSIVE),
    ],
)
def test_a_rise_is_a_regression_and_another_value_of_the_same_weights_is_told(
    times: float, weights: str, verdict: Verdict
) -> None:
    nats = {f"i{number}": 3 + 0.1 * number for number in range(10)}
    now = {item: value * times for item, value in nats.items()}
    (finding,) = judge_likelihood(_golden(nats), {CELL: now}, {CELL: weights})
    assert finding.verdict == verdict
    nothing = replace(_golden(nats), rows=_golden(nats).rows.clear())
    assert judge_likelihood(nothing, {CELL: now}, {CELL: weights}) == []
