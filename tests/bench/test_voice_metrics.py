"""P.808 is that of its package; known sounds have a known pitch and known pauses."""

import numpy as np
import pytest

from bench.common.audio import Wave, read_speech
from bench.common.errors import UserError
from bench.datasets.base import Dataset
from bench.metrics import packaged, pauses, pitch
from bench.metrics.dnsmos_p808 import DnsmosP808
from bench.metrics.loading import check_metrics, metrics_text
from bench.metrics.pauses import Pauses
from bench.metrics.pitch import Pitch

pytestmark = pytest.mark.slow


def _voice(hertz: float, seconds: float = 1.0) -> Wave:
    """Eight harmonics, which a pitch detector takes for a voice."""
    time = np.arange(int(16_000 * seconds)) / 16_000
    harmonics = (np.sin(2 * np.pi * hertz * n * time) / n for n in range(1, 9))
    return (0.2 * sum(harmonics)).astype(np.float32)


def test_pitch_of_known_tones() -> None:
    metric = Pitch()
    measure = metric.loaded("cpu", 1)
    low, high, silent = _voice(200), _voice(400), np.zeros(16_000, np.float32)
    [values] = measure([low])
    hertz, semitones, voiced = metric.score(values)
    assert hertz == pytest.approx(200, rel=0.01)
    assert semitones < 0.5
    assert voiced > 90
    # An octave up in the middle: the mean lies between, and each half is six semitones away.
    [both] = measure([np.concatenate([low, high])])
    hertz, semitones, _ = metric.score(both)
    assert hertz == pytest.approx(200 * 2**0.5, rel=0.03)
    assert semitones == pytest.approx(6, abs=0.4)
    # Two clips of other voices: nothing moves within either.
    hertz, semitones, _ = metric.score(values + measure([high])[0])
    assert hertz == pytest.approx(200 * 2**0.5, rel=0.02)
    assert semitones < 0.5
    assert metric.score(measure([silent])[0]).tolist() == [0, 0, 0]


def test_a_pause_is_what_lies_between_two_stretches_of_speech(scenes: Dataset) -> None:
    file = scenes.items[0].captions[0].speech
    assert file is not None
    speech = read_speech(file, 16_000)
    gap = np.zeros(24_000, np.float32)
    metric = Pauses()
    measure = metric.loaded("cpu", 1)
    [alone], [twice] = measure([speech]), measure([np.concatenate([speech, gap, speech])])
    assert alone[1] == pytest.approx(len(speech) / 16_000)
    assert 0.5 < alone[0] / alone[1] <= 1
    assert twice[2] == 2 * alone[2] + 1
    assert twice[3] == pytest.approx(2 * alone[3] + 1.5, abs=0.5)
    share, rate, mean = metric.score(twice)
    assert share < metric.score(alone)[0]
    assert rate == pytest.approx(60 * twice[2] / twice[1])
    assert mean == pytest.approx(twice[3] / twice[2])
    # The same clip gives the same values, whatever was measured before.
    assert np.array_equal(measure([speech])[0], alone)
    assert metric.score(measure([gap])[0]).tolist() == [0, 0, 0]


P808 = (3.61003, 3.80597, 4.0304, 2.07312)
"""What speechmos 0.0.1.1 gives with librosa 0.11.0 for three recordings and noise."""


def test_p808_is_that_of_its_package(scenes: Dataset) -> None:
    files = [item.captions[0].speech for item in scenes.items[:3]]
    clips = [read_speech(file, 16_000) for file in files if file is not None]
    noise = np.random.default_rng(0).normal(scale=0.5, size=150_000).astype(np.float32)
    metric = DnsmosP808()
    measure = metric.loaded("cpu", 1)
    counted = np.concatenate([measure([clip]) for clip in (*clips, noise)])
    assert counted[:, 0] == pytest.approx(P808, abs=1e-5)
    assert metric.score(counted.sum(0)) == pytest.approx(np.mean(P808), abs=1e-5)


def test_weights_are_signed_and_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    text = metrics_text(["dnsmos_p808", "pauses", "pitch"])
    assert text.endswith(",dnsmos_p808@v1.9246480c,pauses@v1.1a153a22,pitch@v1.6385e8c2")
    for module in (pauses, pitch):
        name = module._WEIGHTS.metric
        other = packaged.PackagedWeights(**(vars(module._WEIGHTS) | {"digest": "0"}))
        monkeypatch.setattr(module, "_WEIGHTS", other)
        with pytest.raises(UserError, match=f"{name}: its weights are not those of s"):
            check_metrics([name], {})
    monkeypatch.setattr(packaged, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pitch: is not installed; .* pip install '.\[quality\]'"):
        check_metrics(["pitch"], {})
