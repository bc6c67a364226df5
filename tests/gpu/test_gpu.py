"""What only a GPU can show: `pytest tests/gpu`, which sees the GPUs that other tests hide."""

import pytest
import torch

from bench.perf.gpu import CHECKS, Check, course_of
from pixvox.decoding.engine import Engine
from pixvox.decoding.requests import Request
from pixvox.decoding.sampling import Decoding
from pixvox.modeling import PixVoxLM
from pixvox.weights import resolve

pytestmark = pytest.mark.gpu
ALONE = [check for check in CHECKS if check.title != "whole runs"]


@pytest.mark.parametrize("check", ALONE, ids=[check.title for check in ALONE])
def test_a_check_of_the_report_holds(check: Check) -> None:
    finding = check.run(course_of(torch.device("cuda")))
    assert finding.holds is not False, finding.words


def test_another_gpu_than_the_first_decodes_the_same() -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("one GPU")
    units = []
    for device in ("cuda:0", "cuda:1"):
        model = PixVoxLM.from_pretrained(resolve("zoo:pixvox-tiny-delay")).eval().to(device)
        config = model.config
        shape = (2, config.image_positions, config.image_state_size)
        states = torch.randn(shape, generator=torch.manual_seed(0)).to(device)
        none = torch.zeros(config.num_codebooks, 0, dtype=torch.long)
        asked = [Request(item=str(row), image=row, prompt=none) for row in range(2)]
        engine = Engine(model, Decoding(max_seconds=1.0, slots=2))
        units.append([generation.units for generation in engine.generate(states, asked)])
    assert all(torch.equal(first, second) for first, second in zip(*units, strict=True))


def test_generate_returns_tensors_of_the_models_device() -> None:
    model = PixVoxLM.from_pretrained(resolve("zoo:pixvox-tiny-delay")).eval().to("cuda")
    size = model.config.image_size
    generated = model.generate(torch.randn(1, 3, size, size), max_seconds=1.0)
    assert {
        tensor.device.type for tensor in (generated.units, generated.lengths, generated.ended)
    } == {"cuda"}
