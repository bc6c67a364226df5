"""Decoding: the same item gives the same units, and draws follow the model's distribution."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from plain import plain_greedy

from pixvox.decoding.engine import NOT_FINITE, Engine, generate
from pixvox.decoding.requests import Generation, Request
from pixvox.decoding.sampling import Chooser, Decoding, item_noise
from pixvox.decoding.steppers import Steppers
from pixvox.modeling import PixVoxLM
from pixvox.patternnames import PATTERN_NAMES

Make = Callable[..., PixVoxLM]
SAMPLED = Decoding(temperature=1.0, top_k=12, top_p=0.95, seed=3, slots=4, max_seconds=2)
GREEDY = Decoding(slots=4, max_seconds=2)


def _requests(count: int) -> list[Request]:
    torch.manual_seed(2)
    return [
        Request(item=f"item{i}", image=i % 3, prompt=torch.randint(0, 16, (3, i % 4)))
        for i in range(count)
    ]


def _run(model: PixVoxLM, requests: list[Request], decoding: Decoding) -> dict[str, Generation]:
    torch.manual_seed(5)
    states = torch.randn(3, 5, 32)
    return {speech.item: speech for speech in generate(model, states, requests, decoding)}


def _ending(model: PixVoxLM) -> PixVoxLM:
    """The model, made to end its speeches now and then, so that rows are replaced."""
    with torch.no_grad():
        model.heads[0].bias[model.config.empty] += 1.0
    return model


@pytest.mark.parametrize("pattern", PATTERN_NAMES)
@pytest.mark.parametrize("decoding", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_units_do_not_depend_on_the_batch(
    small_model: Make, pattern: str, decoding: Decoding
) -> None:
    model = _ending(small_model(pattern))
    requests = _requests(11)
    whole = _run(model, requests, decoding)
    alone = {r.item: _run(model, [r], decoding)[r.item] for r in requests}
    backwards = _run(model, requests[::-1], decoding)
    for request in requests:
        speech = whole[request.item]
        assert torch.equal(speech.units, alone[request.item].units)
        assert torch.equal(speech.units, backwards[request.item].units)
        assert torch.equal(speech.units[:, : request.prompt.shape[1]], request.prompt)
        assert speech.units.shape[1] <= 20


@pytest.mark.parametrize("dense", [False, True], ids=["ragged", "dense"])
@pytest.mark.parametrize("lanes", [1, 2])
@pytest.mark.parametrize("pattern", [*PATTERN_NAMES, "delays-0-3-1", "delays-0-0-2"])
def test_greedy_units_are_the_plain_paths(
    small_model: Make, pattern: str, lanes: int, dense: bool
) -> None:
    model = _ending(small_model(pattern))
    requests = _requests(9)
    torch.manual_seed(5)
    states = torch.randn(3, 5, 32)
    engine = Engine(model, Decoding(slots=4, lanes=lanes, max_seconds=2), dense)
    speeches = engine.generate(states, requests)
    for request, result in zip(requests, speeches, strict=True):
        wanted = plain_greedy(model, states[request.image], request.prompt, 20)
        assert torch.equal(result.units, wanted)


def test_another_seed_gives_other_units(small_model: Make) -> None:
    model = small_model("delay")
    other = Decoding(**{**SAMPLED.__dict__, "seed": 4})
    first, second = (_run(model, _requests(1), d)["item0"].units for d in (SAMPLED, other))
    assert first.shape != second.shape or not torch.equal(first, second)


def test_draws_follow_the_filtered_distribution() -> None:
    logits = torch.tensor([2.0, 1.0, 0.5, 0.0, -1.0])
    decoding = Decoding(temperature=0.7, top_k=3, top_p=0.9)
    uniform = item_noise(0, "draws", 20_000, 1)
    drawn = Chooser(decoding, 1).choose(logits.expand(20_000, 1, 5), uniform)[:, 0]
    shares = torch.bincount(drawn, minlength=5) / 20_000
    chances = (logits / 0.7)[:3].softmax(0)
    # Of the three likeliest the first two reach 0.9 (0.74 + 0.18).
    expected = torch.tensor([*(chances[:2] / chances[:2].sum()).tolist(), 0, 0, 0])
    torch.testing.assert_close(shares, expected, atol=0.012, rtol=0)


def test_no_draw_is_impossible_at_the_edges_of_the_noise() -> None:
    logits = torch.tensor([[[-torch.inf, 0.0, 0.0, -torch.inf]]]).expand(2, 1, 4)
    edges = torch.tensor([[0.0], [1 - 2**-24]])
    chooser = Chooser(Decoding(temperature=1.0), 1)
    assert chooser.choose(logits, edges).flatten().tolist() == [1, 2]


def test_a_prompt_without_room_is_refused(small_model: Make) -> None:
    request = Request(item="long", image=0, prompt=torch.zeros(3, 20, dtype=torch.long))
    with pytest.raises(ValueError, match="long: a prompt of"):
        _run(small_model("delay"), [request], GREEDY)


def test_a_kept_engine_sees_weights_that_were_changed(small_model: Make) -> None:
    model, states = small_model("delay"), torch.randn(3, 5, 32)
    engine = Engine(model, GREEDY)
    before = engine.generate(states, _requests(3))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    after, fresh = (e.generate(states, _requests(3)) for e in (engine, Engine(model, GREEDY)))
    assert [m.units.tolist() for m in after] == [m.units.tolist() for m in fresh]
    assert [m.units.tolist() for m in after] != [m.units.tolist() for m in before]


def test_engines_that_share_a_stepper_speak_as_if_each_had_its_own(small_model: Make) -> None:
    model, states = _ending(small_model("delay")), torch.randn(3, 5, 32)
    steppers = Steppers(model)
    shared = [Engine(model, how, steppers=steppers) for how in (GREEDY, SAMPLED)]
    assert shared[0].stepper is shared[1].stepper
    for _ in range(2):
        for engine in (*shared, shared[0]):
            alone = Engine(model, engine.decoding).generate(states, _requests(9))
            assert [m.units.tolist() for m in engine.generate(states, _requests(9))] == [
                m.units.tolist() for m in alone
            ]
        with torch.no_grad():
            model.heads[1].weight.neg_()


@pytest.mark.parametrize("dense", [False, True], ids=["ragged", "dense"])
@pytest.mark.parametrize("name", ["attention.key", "crossattention.query", "heads", "null_image"])
def test_weights_that_are_no_numbers_give_a_reason_and_no_units(
    small_model: Make, name: str, dense: bool
) -> None:
    model = small_model("delay", null_image=True)
    chosen = next(p for n, p in model.named_parameters() if name in n and "norm" not in n)
    chosen.data.view(-1)[0] = float("nan")
    decoding = Decoding(slots=2, max_seconds=2, guidance=2.0)
    speeches = Engine(model, decoding, dense).generate(torch.randn(3, 5, 32), _requests(3))
    assert [(speech.units.shape[1], speech.ended, speech.reason) for speech in speeches] == 3 * [
        (0, False, NOT_FINITE)
    ]


class _LooksSeldom(Engine):
    """Steps as often as on a GPU before it looks which rows have ended or broken."""

    def _run(self) -> None:
        for _ in range(8):
            super()._run()


@pytest.mark.parametrize("dense", [False, True], ids=["ragged", "dense"])
@pytest.mark.parametrize("value", [torch.inf, 1e38], ids=["infinite", "overflows"])
def test_a_picture_that_is_no_numbers_fails_alone(
    small_model: Make, value: float, dense: bool
) -> None:
    model, states = small_model("delay", null_image=True), torch.randn(3, 5, 32)
    guided, requests = replace(GREEDY, guidance=2.0), _requests(6)
    sound = Engine(model, guided, dense).generate(states, requests)
    broken = states.clone()
    broken[1, 2] = value
    # In the same buffers the broken picture's speech comes before that of a sound one, and before
    # all of another engine.
    steppers = Steppers(model)
    speeches = _LooksSeldom(model, guided, dense, steppers).generate(broken, requests)
    assert [bool(speech.reason) for speech in speeches] == [False, True, False] * 2
    later = _LooksSeldom(model, guided, dense, steppers).generate(states, requests)
    for speech, other, third in zip(speeches, sound, later, strict=True):
        assert speech.reason or torch.equal(speech.units, other.units)
        assert torch.equal(third.units, other.units)


def test_what_is_no_prompt_and_guidance_without_a_null_image_are_refused(
    small_model: Make,
) -> None:
    model, states = small_model("delay"), torch.randn(1, 5, 32)
    for units, message in [
        (torch.full((3, 2), 16), "a prompt has units from 16 to 16, and the codec's are 0 to 15"),
        (torch.full((3, 2), -1), "a prompt has units from -1 to -1"),
        (torch.zeros(3, 2), r"a prompt of torch\.float32; give units"),
        (torch.zeros(2, 2, dtype=torch.long), "a prompt of"),
    ]:
        with pytest.raises(ValueError, match=f"odd: {message}"):
            Engine(model, GREEDY).generate(states, [Request(item="odd", image=0, prompt=units)])
    with pytest.raises(ValueError, match="no null image, which guidance needs"):
        Engine(model, Decoding(guidance=2.0))
    with pytest.raises(ValueError, match="2 values for 3 codebooks"):
        Engine(model, Decoding(temperature=(1.0, 0.0)))
    with pytest.raises(ValueError, match="2 steps at once with a cache"):
        model.step(torch.zeros(1, 3, 2).long(), model.remember(states), model.new_cache(1, 4))
