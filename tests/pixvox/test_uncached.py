"""The engine gives what decoding without any cache gives, whatever is asked of it."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import BlipVisionConfig

from pixvox.configuration import PixVoxConfig
from pixvox.decoding.candidates import SURENESS
from pixvox.decoding.engine import Engine
from pixvox.decoding.requests import Request
from pixvox.decoding.sampling import Decoding, each, item_noise
from pixvox.modeling import PixVoxLM
from pixvox.patternnames import PATTERN_NAMES
from pixvox.patterns import layout

pytestmark = pytest.mark.slow

CASES, FRAMES, UNITS = 150, 7, 12


def _distribution(logits: np.ndarray, heat: float, top_k: int, top_p: float) -> np.ndarray:
    """The probabilities of one codebook's units, by the definitions; float64."""
    logits = logits / heat
    allowed = np.ones(len(logits), bool)
    if top_k:
        allowed &= logits >= np.sort(logits)[::-1][:top_k][-1]
    chances = np.exp(np.where(allowed, logits, -np.inf) - logits.max())
    chances /= chances.sum()
    order = np.argsort(-chances, kind="stable")
    before = np.cumsum(chances[order]) - chances[order]
    chances[order[before >= top_p]] = 0
    return chances / chances.sum()


def _unit(logits: Tensor, q: int, decoding: Decoding, noise: float, codebooks: int) -> int:
    heat, top_k, top_p = (
        each(value, codebooks)[q]
        for value in (decoding.temperature, decoding.top_k, decoding.top_p)
    )
    if heat == 0:
        return int(logits.argmax())
    chances = _distribution(logits.double().numpy(), heat, top_k, top_p)
    return int((np.cumsum(chances) <= noise).sum())


@torch.no_grad()
def _uncached(model: PixVoxLM, states: Tensor, request: Request, decoding: Decoding) -> Tensor:
    """Units `[K, N]`; every step runs the whole sequence through the model again."""
    config = model.config
    codebooks, empty = config.num_codebooks, config.empty
    frames = round(decoding.max_seconds * config.frame_rate)
    images = [states[None]] + ([model.null_states()[None]] if decoding.guided else [])
    memories = [model.remember(image) for image in images]
    scales = torch.tensor(each(decoding.guidance, codebooks))[:, None]
    units = torch.full((codebooks, frames + 1), -1)
    units[:, : request.prompt.shape[1]] = request.prompt
    plan, end, step = layout(config.pattern, codebooks, frames + 1), frames, 0
    steps, drawn = len(plan.steps), request.candidate
    noise = item_noise(decoding.seed, request.item, steps, codebooks, candidate=drawn)
    sequence = torch.full((1, codebooks, 1), empty)
    while step < len(plan.steps):
        logits, *null = [model.step(sequence, memory, None)[0, -1] for memory in memories]
        if null:
            logits = torch.where(scales == 1, logits, null[0] + scales * (logits - null[0]))
        logits[1:, empty] = -torch.inf
        column = torch.full((1, codebooks, 1), empty)
        for t, q in sorted(plan.steps[step], key=lambda slot: slot[1]):
            if t >= end:
                continue
            if units[q, t] < 0:
                units[q, t] = _unit(logits[q], q, decoding, float(noise[step, q]), codebooks)
                run = units[0, max(t - decoding.longest_run, 0) : t + 1]
                if q == 0 and 0 < decoding.longest_run < len(run) and (run == run[0]).all():
                    units[q, t] = empty
            if q == 0 and units[0, t] == empty:
                end, plan = t, layout(config.pattern, codebooks, t + 1)
                continue
            column[0, q] = units[q, t]
        sequence = torch.cat([sequence, column], -1)
        step += 1
    return units[:, :end]


@torch.no_grad()
def _rank(model: PixVoxLM, states: Tensor, units: Tensor, given: int) -> tuple[bool, float]:
    """What a speech is ranked by, by the definitions: whether it ended, then how good it is."""
    config, frames = model.config, units.shape[1]
    units = torch.cat([units, torch.full((len(units), 1), config.empty)], 1)
    plan = layout(config.pattern, config.num_codebooks, frames + 1)
    sequence = torch.full((1, config.num_codebooks, 1), config.empty)
    memory, chances = model.remember(states[None]), []
    for slots in plan.steps:
        logits = model.step(sequence, memory, None)[0, -1, 0]
        column = torch.full((1, config.num_codebooks, 1), config.empty)
        for t, q in slots:
            column[0, q] = units[q, t]
            # Speech that was cut off did not choose to end.
            if q == 0 and given <= t < min(frames + 1, FRAMES):
                chances.append(float(logits.log_softmax(-1)[units[0, t]]))
        sequence = torch.cat([sequence, column], -1)
    score = SURENESS * float(np.mean(chances))
    if model.similarity_head is not None:
        alone = torch.tensor([frames])
        score += float(model.similarity(units[None, :, :-1], alone, states[None]))
    return frames < FRAMES, score


def _wanted(model: PixVoxLM, states: Tensor, request: Request, decoding: Decoding) -> list[Tensor]:
    """The units that may be kept: of candidates whose ranks differ by rounding alone, any."""
    drawn = [
        _uncached(model, states, replace(request, candidate=c), decoding)
        for c in range(decoding.candidates)
    ]
    given = request.prompt.shape[1]
    if len(drawn) == 1 or not any(units.shape[1] > given for units in drawn):
        return drawn[:1]
    ranks = [
        (_rank(model, states, units, given), units) for units in drawn if units.shape[1] > given
    ]
    ended, score = max(rank for rank, _ in ranks)
    return [units for rank, units in ranks if rank[0] == ended and rank[1] > score - 1e-4]


def _model(draw: random.Random, codebooks: int, delays: list[int]) -> PixVoxLM:
    torch.manual_seed(draw.randrange(2**31))
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
    vision = BlipVisionConfig(image_size=32, patch_size=16, num_hidden_layers=1, **sizes)
    config = PixVoxConfig(
        vision_config=vision,
        num_hidden_layers=2,
        max_position_embeddings=80,
        num_codebooks=codebooks,
        codebook_size=UNITS,
        frame_rate=10,
        pattern=draw.choice([*PATTERN_NAMES, {"delays": delays}]),
        null_image=True,
        similarity_size=draw.choice([0, 8]),
        head_transform=draw.random() < 0.3,
        image_projection=draw.random() < 0.3,
        initializer_range=0.6,
        **sizes,
    )
    model = PixVoxLM(config).eval()
    with torch.no_grad():
        model.null_image.normal_()
        model.heads[0].bias[config.empty] += 1
    return model


def _decoding(draw: random.Random, codebooks: int) -> Decoding:
    def drawn(values: list[float]) -> float | tuple[float, ...]:
        if draw.random() < 0.5:
            return draw.choice(values)
        return tuple(draw.choice(values) for _ in range(codebooks))

    lanes = draw.choice([1, 1, 2])
    heat = drawn([0, 0.5, 1, 1.5])
    return Decoding(
        temperature=heat,
        candidates=draw.choice([1, 1, 3]) if any(each(heat, codebooks)) else 1,
        top_k=drawn([0, 0, 3, 8]),
        top_p=drawn([1, 1, 0.9, 0.5]),
        guidance=drawn([1, 1, 2, 0.5, 3]),
        longest_run=draw.choice([0, 0, 1, 2]),
        seed=draw.randrange(100),
        max_seconds=FRAMES / 10,
        slots=lanes * draw.randint(1, 3),
        lanes=lanes,
    )


def test_random_cases_equal_uncached_decoding() -> None:
    for case in range(CASES):
        draw = random.Random(case)
        codebooks = draw.randint(1, 8)
        delays = [0, *(draw.randint(0, 3) for _ in range(codebooks - 1))]
        model, decoding = _model(draw, codebooks, delays), _decoding(draw, codebooks)
        states = torch.randn(2, model.config.image_positions, 16)
        requests = [
            Request(
                item=f"{case}-{number}",
                image=draw.randrange(2),
                prompt=torch.randint(0, UNITS, (codebooks, draw.randrange(4))),
            )
            for number in range(draw.randint(1, 4))
        ]
        # With dense attention and looks after several steps, what a GPU runs.
        dense = draw.choice([None, True])
        engine = Engine(model, decoding, dense)
        engine.poll = 5 if dense else 1
        speeches = engine.generate(states, requests)
        for request, result in zip(requests, speeches, strict=True):
            wanted = _wanted(model, states[request.image], request, decoding)
            equal = any(torch.equal(result.units, units) for units in wanted)
            assert equal, (case, model.config.pattern, decoding)
            assert result.ended == (result.units.shape[1] < FRAMES)
