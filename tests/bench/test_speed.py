"""What `pixvox perf` divides by and compares with is what it says it is."""

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from whisper.model import disable_sdpa

from bench.asr.shortwindow import QUIET, ShortWindow
from bench.asr.whisper import WhisperAsr, WhisperTranscriber
from bench.asr.window import SHORTER, WHOLE
from bench.datasets.scenes.load import load_scenes
from bench.perf.transcribe import encoder_flops, keys_flops
from tests.evidence.audit import Audited, faults
from tests.evidence.scoring import measure

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("seconds", [WHOLE, SHORTER[0]])
def test_whisper_s_floor_counts_what_torch_counts(seconds: int) -> None:
    model = WhisperTranscriber(WhisperAsr(), "cpu").model
    short, mel = ShortWindow(model), torch.full((model.dims.n_mels, 100 * seconds), QUIET)
    short(mel, SHORTER[0])
    # The counter does not know the fused attention of CPUs.
    with disable_sdpa(), torch.inference_mode(), FlopCounterMode(display=False) as counter:
        states = short(mel, seconds)
        encoding = counter.get_total_flops()
        for block in model.decoder.blocks:
            block.cross_attn.key(states)
            block.cross_attn.value(states)
        keys = counter.get_total_flops() - encoding
    assert encoding == pytest.approx(encoder_flops(model.dims, seconds), rel=0.01)
    assert keys == keys_flops(model.dims, WHOLE)


def test_scores_beside_stock_are_the_same() -> None:
    dataset = load_scenes()
    figures = measure(replace(dataset, items=dataset.items[:3]), 1, lambda *_: None)
    assert (figures["images"], figures["variants"]) == (3, 1)
    assert figures["off"] < 1e-9


def test_an_audit_wants_the_same_outputs_twice_and_a_minute() -> None:
    run = Audited(100, 80.0, 10.0, 1.4, {}, 0.9, units="a", derived="b")
    assert not faults([run, run])
    (fault,) = faults([run, replace(run, units="c")])
    assert "same units" in fault
    (fault,) = faults([run, replace(run, derived="c")])
    assert "rows and scores" in fault
    (fault,) = faults([run, replace(run, seconds=60.0)])
    assert "at least 60" in fault
