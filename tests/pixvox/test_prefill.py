"""A prompt is taken in one pass, rows of one image share its memory, and rows are read rarely."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from pixvox.decoding.engine import Engine
from pixvox.decoding.memories import Memories
from pixvox.decoding.requests import Generation, Request
from pixvox.decoding.sampling import Decoding
from pixvox.decoding.stepper import Stepper
from pixvox.modeling import PixVoxLM
from pixvox.patternnames import PATTERN_NAMES

Make = Callable[..., PixVoxLM]
DECODINGS = {
    "greedy": Decoding(slots=2, max_seconds=2),
    "sampled": Decoding(temperature=1.0, top_k=9, seed=3, slots=2, max_seconds=2),
    "guided": Decoding(temperature=(0.0, 0.8, 1.0), guidance=2.0, slots=2, max_seconds=2),
    "runs": Decoding(temperature=0.8, longest_run=2, slots=2, max_seconds=2),
}


def _generate(model: PixVoxLM, decoding: Decoding, dense: bool) -> tuple[list[Generation], Engine]:
    torch.manual_seed(5)
    states = torch.randn(2, 5, 32)
    requests = [
        Request(item=str(frames), image=frames % 2, prompt=torch.randint(0, 4, (3, frames)))
        for frames in (0, 1, 2, 6, 11, 17)
    ]
    engine = Engine(model, decoding, dense)
    return engine.generate(states, requests), engine


@pytest.mark.parametrize("dense", [False, True], ids=["ragged", "dense"])
@pytest.mark.parametrize("name", DECODINGS)
@pytest.mark.parametrize("pattern", [*PATTERN_NAMES, "delays-0-2-1"])
def test_a_prompt_in_one_pass_gives_the_units_of_single_steps(
    small_model: Make, monkeypatch: pytest.MonkeyPatch, pattern: str, name: str, dense: bool
) -> None:
    model = small_model(pattern, null_image=True, max_position_embeddings=80)
    with torch.no_grad():
        model.heads[0].bias[model.config.empty] += 1.0
    at_once, engine = _generate(model, DECODINGS[name], dense)
    monkeypatch.setattr(Stepper, "prefilled_steps", lambda stepper, steps: 0)
    one_by_one, stepped = _generate(model, DECODINGS[name], dense)
    assert [speech.units.tolist() for speech in at_once] == [
        speech.units.tolist() for speech in one_by_one
    ]
    assert engine.steps_run < stepped.steps_run


def test_a_block_of_a_prompt_has_the_bits_of_single_steps(
    small_model: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = small_model("delay", null_image=True)
    decoding = Decoding(guidance=2.0, slots=4, max_seconds=2)
    states, prompt = torch.randn(1, 5, 32), torch.randint(0, 16, (3, 15))
    caches = []
    for _ in range(2):
        engine = Engine(model, decoding)
        engine.generate(states, [Request(item="item", image=0, prompt=prompt)])
        caches.append([(part.cache.keys, part.cache.values) for part in engine.stepper.layers])
        monkeypatch.setattr(Stepper, "prefilled_steps", lambda stepper, steps: 0)
    for blocks, steps in zip(*caches, strict=True):
        for by_block, by_step in zip(blocks, steps, strict=True):
            assert torch.equal(by_block[:: decoding.slots], by_step[:: decoding.slots])


@pytest.mark.parametrize("dense", [False, True], ids=["ragged", "dense"])
def test_candidates_share_the_memory_of_their_image(
    small_model: Make, monkeypatch: pytest.MonkeyPatch, dense: bool
) -> None:
    entries: list[int] = []
    remember = Stepper.remember

    def counted(stepper: Stepper, entry: int, image_states: Tensor) -> None:
        entries.append(entry)
        remember(stepper, entry, image_states)

    model = small_model("delay")
    decoding = Decoding(temperature=1.0, candidates=8, slots=8, max_seconds=2)
    none = torch.zeros(3, 0, dtype=torch.long)
    requests = [Request(item=str(image), image=image, prompt=none) for image in range(3)]
    torch.manual_seed(5)
    states = torch.randn(3, 5, 32)
    apart = Engine(model, replace(decoding, slots=1)).generate(states, requests)
    monkeypatch.setattr(Stepper, "remember", counted)
    engine = Engine(model, decoding, dense)
    shared = engine.generate(states, requests)
    assert [speech.units.tolist() for speech in shared] == [
        speech.units.tolist() for speech in apart
    ]
    assert len(entries) == 3
    assert engine.shape.lanes == (8 if dense else 1)


@pytest.mark.parametrize("dense", [False, True], ids=["ragged", "dense"])
def test_candidates_of_an_image_prefill_their_prompt_once(
    small_model: Make, monkeypatch: pytest.MonkeyPatch, dense: bool
) -> None:
    prefills: list[int] = []
    prefill = Stepper.prefill

    def counted(stepper: Stepper, slot: int, entry: int, units: Tensor) -> None:
        prefills.append(slot)
        prefill(stepper, slot, entry, units)

    model = small_model("delay", null_image=True)
    decoding = Decoding(temperature=1.0, guidance=2.0, candidates=6, slots=12, max_seconds=2)
    torch.manual_seed(5)
    states = torch.randn(2, 5, 32)
    # Two images, and the first once more after another prompt of the same length.
    prompts = [torch.randint(0, 16, (3, 15)) for _ in range(2)]
    requests = [
        Request(item="a", image=0, prompt=prompts[0]),
        Request(item="b", image=1, prompt=prompts[0]),
        Request(item="c", image=0, prompt=prompts[1]),
    ]
    monkeypatch.setattr(Engine, "_slot_that_begins_like", lambda engine, request: None)
    apart = Engine(model, decoding, dense).generate(states, requests)
    monkeypatch.undo()
    monkeypatch.setattr(Stepper, "prefill", counted)
    shared = Engine(model, decoding, dense).generate(states, requests)
    assert [speech.units.tolist() for speech in shared] == [
        speech.units.tolist() for speech in apart
    ]
    assert len(prefills) == 3


def test_a_memory_that_is_read_is_not_replaced() -> None:
    memories = Memories(4, 2, grouped=False)
    assert [memories.assign(slot, image) for slot, image in enumerate((7, 7, 8))] == [
        True,
        False,
        True,
    ]
    assert memories.assign(3, 9) is None
    memories.release(2)
    assert memories.assign(3, 9) is True
    assert [memories.entry_of(slot) for slot in (0, 1, 3)] == [0, 0, 1]


@pytest.mark.parametrize("options", [{}, {"temperature": 1.0, "candidates": 2}])
def test_rows_are_read_once_a_poll_and_once_more_where_some_ended(
    small_model: Make, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    reads: list[int] = []
    download = Engine._download

    def counted(engine: Engine, values: Tensor) -> Tensor:
        reads.append(len(values))
        return download(engine, values)

    monkeypatch.setattr(Engine, "_download", counted)
    engine = Engine(small_model("parallel"), Decoding(slots=4, max_seconds=2, **options), True)
    engine.poll = 8
    with torch.no_grad():
        engine.model.heads[0].bias[engine.empty] = -100.0
    none = torch.zeros(3, 0, dtype=torch.long)
    requests = [
        Request(item=str(row), image=0, prompt=none)
        for row in range(8 // engine.decoding.candidates)
    ]
    engine.generate(torch.randn(1, 5, 32), requests)
    # Two rounds of 21 steps in four slots: three polls each, all rows ended in the third.
    assert reads == [4, 4, 4, 4] * 2
