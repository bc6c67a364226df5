"""Training: cutting a batch changes nothing, and a resumed run is the run it continues."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pixvox.digests import WeightsError
from pixvox.modeling import PixVoxLM
from pixvox.training.captions import SpokenCaptions
from pixvox.training.frozen import load_trained
from pixvox.training.loop import check_resumable, train, validate
from pixvox.training.prefetch import prefetched
from pixvox.training.recipe import Training, batches
from pixvox.training.vision import VisionTraining, pretrain

Make = Callable[..., PixVoxLM]
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


def _lengths() -> list[int]:
    return [3 + n % 5 for n in range(12)]


def _losses(
    model: PixVoxLM,
    plan: Training,
    folder: Path,
    stop: int | None = None,
    data: SpokenCaptions | None = None,
) -> list[float]:
    losses = []
    for step in train(model, data or _data(), _data(), plan, folder=folder):
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


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_a_resumed_run_continues_the_same_curve(
    small_model: Make, tmp_path: Path, optimiser: str
) -> None:
    plan = replace(PLAN, optimiser=optimiser)

    def model() -> PixVoxLM:
        model = small_model("delay")
        for layer in model.layers:
            layer.dropout = layer.attention.dropout = 0.3
        return model

    unbroken = _losses(model(), plan, tmp_path / "a")
    broken = _losses(model(), plan, tmp_path / "b", stop=5)
    # Killed after step 5, it resumes from the checkpoint of step 4.
    resumed = _losses(model(), plan, tmp_path / "b")
    assert broken == unbroken[:5]
    assert resumed == unbroken[4:]


def test_a_training_that_is_asked_to_stop_goes_on_from_that_step(
    small_model: Make, tmp_path: Path
) -> None:
    unbroken = _losses(small_model("delay"), PLAN, tmp_path / "a")
    plan, answers = replace(PLAN, checkpoint_every=100), iter([False, False, True])
    model = small_model("delay")
    stopped = train(
        model, _data(), _data(), plan, folder=tmp_path / "b", stop=lambda: next(answers)
    )
    assert [step.loss for step in stopped] == unbroken[:3]
    assert _losses(small_model("delay"), plan, tmp_path / "b") == unbroken[3:]


def test_the_best_weights_are_what_is_left(small_model: Make, tmp_path: Path) -> None:
    model = small_model("delay")
    # Far too high a rate: the first validation is the best one.
    plan = replace(PLAN, learning_rate=1.0, warmup=4)
    steps = list(train(model, _data(), _data(), plan, folder=tmp_path))
    checked = {s.step: sum(s.validation) for s in steps if s.validation}
    best, last = (torch.load(tmp_path / f, weights_only=True) for f in ("best.pt", "state.pt"))
    assert checked[3] < checked[6]
    for name, value in best["model"].items():
        assert torch.equal(value, model.state_dict()[name])
    assert any(not torch.equal(v, best["model"][n]) for n, v in last["model"].items())


@pytest.mark.parametrize("train_vision", [False, True])
def test_gradients_flow_only_where_intended(
    small_model: Make, tmp_path: Path, train_vision: bool
) -> None:
    model = small_model("delay")
    before = {name: value.clone() for name, value in model.named_parameters()}
    plan = replace(PLAN, steps=1, train_vision=train_vision)
    list(train(model, _data(pixels=True), _data(pixels=True), plan, folder=tmp_path))
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
    rows = [row for batch in batches(lengths, 8, epoch=3, seed=1) for row in batch]
    assert sorted(rows) == list(range(53))
    assert batches(lengths, 8, 3, 1) != batches(lengths, 8, 4, 1)


def test_a_plan_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="use auto, bfloat16 or float32"):
        Training(steps=1, precision="int3")
    with pytest.raises(ValueError, match="use adamw or muon"):
        Training(steps=1, optimiser="sgd")


def test_what_image_dropout_takes_away_does_not_matter_and_the_null_image_learns(
    small_model: Make, tmp_path: Path
) -> None:
    plan = replace(PLAN, steps=4, image_dropout=0.9, average=0.9, precision="float32")

    def trained(folder: str, change: float, micro: int = 0) -> tuple[list[float], torch.Tensor]:
        model = small_model("delay", null_image=True)
        data = _data()
        drawn = [np.random.default_rng((0, 1, step)).random(5) < 0.9 for step in range(4)]
        order = [row for n in (0, 1) for batch in batches(_lengths(), 5, n, 0) for row in batch]
        rows = {row for row, gone in zip(order, np.concatenate(drawn), strict=False) if not gone}
        hidden = [n for n in range(4) if not any(data.image_of[row] == n for row in rows)]
        assert hidden
        data.images[hidden] += change
        steps = train(
            model, data, _data(), replace(plan, micro_batch=micro), folder=tmp_path / folder
        )
        return [step.loss for step in steps], model.null_image.detach().clone()

    losses, null = trained("a", 0.0)
    assert null.abs().min() > 0
    assert trained("b", 5.0)[0] == losses
    np.testing.assert_allclose(trained("c", 0.0, micro=2)[0], losses, rtol=2e-5)


def test_muon_is_for_the_matrices_of_the_layers_alone(small_model: Make, tmp_path: Path) -> None:
    def after(optimiser: str) -> dict[str, torch.Tensor]:
        model = small_model("delay")
        plan = replace(PLAN, steps=1, optimiser=optimiser, precision="float32")
        list(train(model, _data(), _data(), plan, folder=tmp_path / optimiser))
        return dict(model.named_parameters())

    plain, other = after("adamw"), after("muon")
    assert {name for name in plain if not torch.equal(plain[name], other[name])} == {
        name for name, value in plain.items() if name.startswith("layers.") and value.ndim == 2
    }


def test_a_mirrored_picture_is_the_flipped_one_and_is_seen_half_the_time(
    small_model: Make, tmp_path: Path
) -> None:
    whole = _data(pixels=True)
    flipped = replace(whole, images=np.ascontiguousarray(whole.images[..., ::-1]))
    both = replace(whole, images=np.concatenate([whole.images, flipped.images]), mirrored=True)
    mirror = [True, False, True]
    expected = [
        (flipped if turned else whole).states([row])[0]
        for row, turned in zip((5, 6, 7), mirror, strict=True)
    ]
    assert torch.equal(both.batch([5, 6, 7], mirror)[2], torch.stack(expected))
    plan = replace(PLAN, mirror=True, precision="float32")
    once = _losses(small_model("delay"), plan, tmp_path / "a", data=both)
    # Where both halves are the same picture, nothing is left of the draw.
    same = replace(whole, images=np.concatenate([whole.images] * 2), mirrored=True)
    plain = _losses(small_model("delay"), replace(plan, mirror=False), tmp_path / "b", data=whole)
    assert _losses(small_model("delay"), plan, tmp_path / "c", data=same) == plain != once


def test_hidden_units_are_inputs_of_training_steps_alone(small_model: Make, tmp_path: Path) -> None:
    model, data = small_model("delay").eval(), _data()
    units, lengths, states = data.batch(range(12))
    inputs: list[torch.Tensor] = []
    model.embeddings.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    for share in (0.0, 0.5, 0.5):
        model(units, lengths, image_states=states.float(), unit_dropout=share)
    whole, first, second = inputs
    hidden = (first == model.config.empty).all(1) & (whole != model.config.empty).any(1)
    assert torch.equal(first, whole.masked_fill(hidden[:, None], model.config.empty))
    assert 0.3 < hidden.float().mean() < 0.6
    assert not torch.equal(first, second)
    # Unit dropout is part of the course, and of training steps alone.
    plan = replace(PLAN, unit_dropout=0.5, validate_every=6)
    steps = list(train(small_model("delay"), data, data, plan, folder=tmp_path))
    trained = small_model("delay")
    load_trained(trained, torch.load(tmp_path / "best.pt", weights_only=True)["model"])
    assert steps[-1].validation == validate(trained, data, PLAN)


def test_the_average_is_what_is_validated_and_kept_and_a_resumed_run_has_the_same(
    small_model: Make, tmp_path: Path
) -> None:
    plan = replace(PLAN, average=0.5)
    model = small_model("delay")
    unbroken = list(train(model, _data(), _data(), plan, folder=tmp_path / "a"))
    held = [s.validation for s in unbroken if s.validation]
    assert held != [
        s.validation
        for s in train(small_model("delay"), _data(), _data(), PLAN, folder=tmp_path / "plain")
        if s.validation
    ]
    _losses(small_model("delay"), plan, tmp_path / "b", stop=5)
    again = small_model("delay")
    resumed = list(train(again, _data(), _data(), plan, folder=tmp_path / "b"))
    assert resumed[-1].validation == held[-1]
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])


def test_a_judge_decides_which_weights_are_the_best_and_when_it_is_enough(
    small_model: Make, tmp_path: Path
) -> None:
    model, states = small_model("delay"), list[dict[str, torch.Tensor]]()

    class Judge:
        name = "first"

        def __call__(self, now: PixVoxLM) -> dict[str, float]:
            assert not now.training
            states.append({name: value.clone() for name, value in now.state_dict().items()})
            return {"score": [1.0, 3.0, 2.0, 2.5, 0.5, 0.4, 0.3][len(states) - 1]}

    judge = Judge()
    plan = replace(PLAN, steps=10, validate_every=1, patience=2)
    steps = list(train(model, _data(), _data(), plan, folder=tmp_path, judge=judge))
    assert [s.step for s in steps] == [1, 2, 3, 4]
    assert [s.last for s in steps] == [False, False, False, True]
    assert steps[1].scores == {"score": 3.0}
    for name, value in model.state_dict().items():
        assert torch.equal(value, states[1][name])
    # It is over: the same call again takes no step.
    assert not list(
        train(small_model("delay"), _data(), _data(), plan, folder=tmp_path, judge=judge)
    )
    # Scores of another judge are not compared with those before: it goes on, and 0.5 is the best.
    judge.name = "second"
    assert [s.step for s in train(model, _data(), _data(), plan, folder=tmp_path, judge=judge)] == [
        5,
        6,
        7,
    ]
    for name, value in model.state_dict().items():
        assert torch.equal(value, states[4][name])


def test_an_image_encoder_s_training_is_not_gone_on_with_otherwise(
    small_model: Make, tmp_path: Path
) -> None:
    vision, plan = small_model("delay").vision, VisionTraining(steps=2, batch=2, checkpoint_every=1)
    size = vision.config.image_size
    images = torch.zeros(2, 3, size, size, dtype=torch.uint8)
    next(iter(pretrain(vision, images, torch.ones(2, 3), plan, folder=tmp_path)))
    for changed in (replace(plan, steps=3), replace(plan, learning_rate=1e-4)):
        with pytest.raises(WeightsError, match="another model, recipe or data"):
            next(iter(pretrain(vision, images, torch.ones(2, 3), changed, folder=tmp_path)))
    steps = pretrain(
        vision, images, torch.ones(2, 3), replace(plan, checkpoint_every=2), folder=tmp_path
    )
    assert [step for step, _ in steps] == [2]


def test_a_codebook_of_no_weight_is_not_learnt(small_model: Make, tmp_path: Path) -> None:
    model = small_model("delay")
    before = [head.bias.detach().clone() for head in model.heads]
    plan = replace(PLAN, codebook_weights=(1.0, 0.0, 2.0))
    list(train(model, _data(), _data(), plan, folder=tmp_path))
    moved = [not torch.equal(h.bias, b) for h, b in zip(model.heads, before, strict=True)]
    assert moved == [True, False, True]


def test_another_training_is_not_gone_on_with(small_model: Make, tmp_path: Path) -> None:
    _losses(small_model("delay"), PLAN, tmp_path, stop=4)
    begun = ("parallel", PLAN, ""), ("delay", replace(PLAN, batch=4), ""), ("delay", PLAN, "other")
    for other, plan, origin in begun:
        with pytest.raises(WeightsError, match="the checkpoint of another model, recipe or data"):
            next(train(small_model(other), _data(), _data(), plan, folder=tmp_path, origin=origin))
        with pytest.raises(WeightsError, match="the checkpoint of another model, recipe or data"):
            check_resumable(small_model(other), _data(), plan, folder=tmp_path, origin=origin)
    check_resumable(small_model("delay"), _data(), PLAN, folder=tmp_path, origin="")
    # How often it validates is no part of what a training is.
    assert _losses(small_model("delay"), replace(PLAN, validate_every=2), tmp_path)


@pytest.mark.parametrize("train_vision", [False, True])
def test_a_checkpoint_has_the_image_encoder_only_where_it_is_trained(
    small_model: Make, tmp_path: Path, train_vision: bool
) -> None:
    plan, data = replace(PLAN, train_vision=train_vision), _data(pixels=True)
    unbroken = _losses(small_model("delay"), plan, tmp_path / "a", data=data)
    _losses(small_model("delay"), plan, tmp_path / "b", stop=5, data=data)
    for name in ("state.pt", "best.pt"):
        saved = torch.load(tmp_path / "b" / name, weights_only=True)["model"]
        assert any(key.startswith("vision.") for key in saved) == train_vision
        assert any(key.startswith("layers.") for key in saved)
    assert _losses(small_model("delay"), plan, tmp_path / "b", data=data) == unbroken[4:]


def test_a_checkpoint_of_before_resumes_and_another_frozen_image_encoder_does_not(
    small_model: Make, tmp_path: Path
) -> None:
    unbroken = _losses(small_model("delay"), PLAN, tmp_path / "a")
    _losses(small_model("delay"), PLAN, tmp_path / "b", stop=5)
    other = small_model("delay")
    with torch.no_grad():
        next(other.vision.parameters()).add_(1.0)
    with pytest.raises(WeightsError, match="trained over another image encoder"):
        _losses(other, PLAN, tmp_path / "b")
    # Checkpoints used to hold the image encoder, and no digest of it.
    state = torch.load(tmp_path / "b" / "state.pt", weights_only=True)
    del state["frozen"]
    state["model"] = small_model("delay").state_dict() | state["model"]
    torch.save(state, tmp_path / "b" / "state.pt")
    assert _losses(small_model("delay"), PLAN, tmp_path / "b") == unbroken[4:]


def test_activation_checkpointing_takes_the_same_steps(small_model: Make, tmp_path: Path) -> None:
    def model() -> PixVoxLM:
        dropping = small_model("delay")
        for layer in dropping.layers:
            layer.dropout = layer.attention.dropout = 0.3
        return dropping

    plan = replace(PLAN, precision="float32")
    again, calls = model(), []
    again.layers[0].intermediate.register_forward_hook(
        lambda *_: calls.append(torch.is_grad_enabled())
    )
    plain = _losses(model(), plan, tmp_path / "a")
    checkpointed = replace(plan, activation_checkpointing=True, validate_every=6)
    assert _losses(again, checkpointed, tmp_path / "b") == plain
    # Each of six steps computes the layer a second time for its gradients.
    assert sum(calls) == 12


def test_the_next_batch_is_read_meanwhile_and_no_more() -> None:
    read: list[int] = []

    def load(key: int) -> int:
        read.append(key)
        if key == 3:
            raise OSError("unreadable")
        return key * key

    squares = prefetched(load, range(9))
    assert not read
    assert [next(squares), next(squares), next(squares)] == [0, 1, 4]
    with pytest.raises(OSError, match="unreadable"):
        next(squares)
    assert set(read) <= {0, 1, 2, 3, 4}
