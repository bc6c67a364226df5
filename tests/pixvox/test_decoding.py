"""Decoding: the same item gives the same units, and draws follow the model's distribution."""

from collections.abc import Callable

import pytest
import torch
from plain import plain_greedy

from pixvox.decoding.engine import Engine, Generation, Request, generate
from pixvox.decoding.sampling import Decoding, choose, item_noise
from pixvox.modeling import PixVoxLM
from pixvox.patternnames import PATTERN_NAMES

Make = Callable[[str], PixVoxLM]
SAMPLED = Decoding(temperature=1.0, top_k=12, top_p=0.95, seed=3, slots=4, max_seconds=2)
GREEDY = Decoding(slots=4, max_seconds=2)


def _requests(count: int) -> list[Request]:
    torch.manual_seed(2)
    return [Request(f"item{i}", i % 3, torch.randint(0, 16, (3, i % 4))) for i in range(count)]


def _run(model: PixVoxLM, requests: list[Request], decoding: Decoding) -> dict[str, Generation]:
    torch.manual_seed(5)
    states = torch.randn(3, 5, 32)
    return {made.item: made for made in generate(model, states, requests, decoding)}


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
        made = whole[request.item]
        assert torch.equal(made.units, alone[request.item].units)
        assert torch.equal(made.units, backwards[request.item].units)
        assert torch.equal(made.units[:, : request.prompt.shape[1]], request.prompt)
        assert made.units.shape[1] <= 20


@pytest.mark.parametrize("dense", [False, True], ids=["ragged", "dense"])
@pytest.mark.parametrize("lanes", [1, 2])
@pytest.mark.parametrize("pattern", [*PATTERN_NAMES, "delays-0-3-1"])
def test_greedy_units_are_the_plain_paths(
    small_model: Make, pattern: str, lanes: int, dense: bool
) -> None:
    model = _ending(small_model(pattern))
    requests = _requests(9)
    torch.manual_seed(5)
    states = torch.randn(3, 5, 32)
    engine = Engine(model, Decoding(slots=4, lanes=lanes, max_seconds=2), dense)
    made = engine.generate(states, requests)
    for request, result in zip(requests, made, strict=True):
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
    drawn = choose(logits.expand(20_000, 1, 5), decoding, uniform)[:, 0]
    shares = torch.bincount(drawn, minlength=5) / 20_000
    kept = (logits / 0.7)[:3].softmax(0)
    # Of the three likeliest the first two reach 0.9 (0.74 + 0.18).
    expected = torch.tensor([*(kept[:2] / kept[:2].sum()).tolist(), 0, 0, 0])
    torch.testing.assert_close(shares, expected, atol=0.012, rtol=0)


def test_no_draw_is_impossible_at_the_edges_of_the_noise() -> None:
    logits = torch.tensor([[[-torch.inf, 0.0, 0.0, -torch.inf]]]).expand(2, 1, 4)
    edges = torch.tensor([[0.0], [1 - 2**-24]])
    assert choose(logits, Decoding(temperature=1.0), edges).flatten().tolist() == [1, 2]


def test_a_prompt_without_room_is_refused(small_model: Make) -> None:
    request = Request("long", 0, torch.zeros(3, 20, dtype=torch.long))
    with pytest.raises(ValueError, match="long: a prompt of"):
        _run(small_model("delay"), [request], GREEDY)
