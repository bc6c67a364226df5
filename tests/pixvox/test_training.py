"""Training: cutting a batch changes nothing, and a resumed run is the run it continues."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pixvox.digests import WeightsError
from pixvox.modeling import PixVoxLM
from pixvox.training.loop import SpokenCaptions, Training, batches, train

Make = Callable[[str], PixVoxLM]
PLAN = Training(
    steps=6, batch=5, learning_rate=3e-3, warmup=1, validate_every=3, checkpoint_every=2
)


def _data(pixels: bool = False) -> SpokenCaptions:
    torch.manual_seed(4)
    units = [torch.randint(0, 16, (3, 3 + n % 5)) for n in range(12)]
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 3, 32, 32), dtype=np.uint8)
    states = rng.standard_normal((4, 5, 32)).astype(np.float16)
    return SpokenCaptions(units, [n % 4 for n in range(12)], images if pixels else states)


def _losses(model: PixVoxLM, plan: Training, folder: Path, stop: int | None = None) -> list[float]:
    losses = []
    for step in train(model, _data(), _data(), plan, folder):
        losses.append(step.loss)
        if step.step == stop:
            break
    return losses


@pytest.mark.parametrize("micro", [1, 2, 3])
def test_accumulation_takes_the_step_of_the_whole_batch(
    small_model: Make, tmp_path: Path, micro: int
) -> None:
    plan = replace(PLAN, precision="float32")
    whole = _losses(small_model("delay"), plan, tmp_path / "whole")
    parts = _losses(small_model("delay"), replace(plan, micro_batch=micro), tmp_path / "parts")
    np.testing.assert_allclose(parts, whole, rtol=2e-5)


def test_a_resumed_run_continues_the_same_curve(small_model: Make, tmp_path: Path) -> None:
    def model() -> PixVoxLM:
        made = small_model("delay")
        for layer in made.layers:
            layer.dropout = layer.attention.dropout = 0.3
        return made

    unbroken = _losses(model(), PLAN, tmp_path / "a")
    broken = _losses(model(), PLAN, tmp_path / "b", stop=5)
    # Killed after step 5, it resumes from the checkpoint of step 4.
    resumed = _losses(model(), PLAN, tmp_path / "b")
    assert broken == unbroken[:5]
    assert resumed == unbroken[4:]


def test_a_training_that_is_asked_to_stop_goes_on_from_that_step(
    small_model: Make, tmp_path: Path
) -> None:
    unbroken = _losses(small_model("delay"), PLAN, tmp_path / "a")
    plan, answers = replace(PLAN, checkpoint_every=100), iter([False, False, True])
    model = small_model("delay")
    stopped = train(model, _data(), _data(), plan, tmp_path / "b", lambda: next(answers))
    assert [step.loss for step in stopped] == unbroken[:3]
    assert _losses(small_model("delay"), plan, tmp_path / "b") == unbroken[3:]


def test_the_best_weights_are_what_is_left(small_model: Make, tmp_path: Path) -> None:
    model = small_model("delay")
    # Far too high a rate: the first validation is the best one.
    plan = replace(PLAN, learning_rate=1.0, warmup=4)
    steps = list(train(model, _data(), _data(), plan, tmp_path))
    checked = {s.step: sum(s.validation) for s in steps if s.validation}
    best, last = (torch.load(tmp_path / f, weights_only=True) for f in ("best.pt", "state.pt"))
    assert checked[3] < checked[6]
    for name, value in model.state_dict().items():
        assert torch.equal(value, best["model"][name])
    assert any(not torch.equal(v, best["model"][n]) for n, v in last["model"].items())


@pytest.mark.parametrize("train_vision", [False, True])
def test_gradients_flow_only_where_intended(
    small_model: Make, tmp_path: Path, train_vision: bool
) -> None:
    model = small_model("delay")
    before = {name: value.clone() for name, value in model.named_parameters()}
    plan = replace(PLAN, steps=1, train_vision=train_vision)
    list(train(model, _data(pixels=True), _data(pixels=True), plan, tmp_path))
    moved = {
        name for name, value in model.named_parameters() if not torch.equal(value, before[name])
    }
    vision = {name for name in before if name.startswith("vision.")}
    # An attention's key bias shifts all its scores alike: its gradient is 0 by construction.
    still = set(before) - moved - {n for n in before if n.endswith("key.bias")}
    never_seen = {n for n in still if "embeddings.positions" in n}
    assert still - never_seen == (set() if train_vision else vision)


def test_an_epoch_takes_every_caption_once() -> None:
    lengths = [n * 7 % 40 for n in range(53)]
    seen = [row for batch in batches(lengths, 8, epoch=3, seed=1) for row in batch]
    assert sorted(seen) == list(range(53))
    assert batches(lengths, 8, 3, 1) != batches(lengths, 8, 4, 1)


def test_a_plan_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="use auto, bfloat16 or float32"):
        Training(steps=1, precision="int3")


def test_another_training_is_not_gone_on_with(small_model: Make, tmp_path: Path) -> None:
    _losses(small_model("delay"), PLAN, tmp_path, stop=4)
    for other, plan in (("parallel", PLAN), ("delay", replace(PLAN, batch=4))):
        with pytest.raises(WeightsError, match="the checkpoint of another model, recipe or data"):
            _losses(small_model(other), plan, tmp_path)
    # How often it validates is no part of what a training is.
    assert _losses(small_model("delay"), replace(PLAN, validate_every=2), tmp_path)
