"""Metrics of speech: what they measure, what fails, and the scores that come with the suite."""

import sys
import types
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from bench.asr.whisper import WhisperAsr
from bench.common.audio import Wave, read_speech
from bench.common.errors import UserError
from bench.datasets.base import Dataset
from bench.execution.measuring import Measurer, Sound
from bench.execution.runstate import RunState
from bench.execution.speech import lost_speech
from bench.jobs.expansion import expand
from bench.jobs.spec import Job
from bench.metrics import dnsmos
from bench.metrics.dnsmos import Dnsmos
from bench.metrics.rate import SpeakingRate
from bench.store.ledger import Ledger
from bench.store.rows import SpeechRow, TranscriptRow
from tests.evidence.stub import METRIC

pytestmark = pytest.mark.slow

PEAK = """
import numpy as np
from bench.common.audio import SpeechError
from bench.metrics.base import AudioMetric, Score

class Peak(AudioMetric):
    name, columns, scores = "peak", ("peak", "clips"), (Score("peak", "P"),)
    rate, batch = 8_000, 2

    def measure(self, waves):
        assert len(waves) == self.batch
        peaks = [float(abs(wave).max()) for wave in waves]
        if max(peaks) > 0.9:
            raise SpeechError("it is clipped")
        if min(peaks) < 0.1:
            return np.array([(np.nan, 1) for _ in peaks])
        return np.array([(peak, len(wave)) for peak, wave in zip(peaks, waves)])

    def score(self, sums):
        return sums[..., :1]
"""


def _tone(peak: float, seconds: float = 0.5) -> Sound:
    wave = np.full(int(16_000 * seconds), peak, dtype=np.float32)
    return Sound(wave, 16_000)


def test_what_cannot_be_measured_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "peaks.py").write_text(PEAK)
    monkeypatch.syspath_prepend(str(tmp_path))
    measurer = Measurer("peaks:Peak", "cpu", 1)
    sounds = [_tone(peak) for peak in (0.5, 0.95, 0.05, 0.25, 0.75)]
    rows = measurer.rows(list("abcde"), sounds)
    assert [(row.item, row.status) for row in rows] == [
        ("a", "ok"), ("b", "failed"), ("c", "failed"), ("d", "ok"), ("e", "ok")
    ]  # fmt: skip
    assert (rows[1].reason, rows[2].reason) == (
        "it is clipped",
        "ValueError: gave no finite number",
    )
    # At the metric's own rate, whoever the neighbours are.
    assert [row.values[1] for row in rows if row.values] == [4_000] * 3
    assert [row.values[0] for row in rows if row.values] == pytest.approx(
        [0.5, 0.25, 0.75], abs=0.1
    )
    assert measurer.rows(["d"], [_tone(0.25)]) == [rows[3]]


def _clips(scenes: Dataset) -> list[Wave]:
    """Nine recordings, of one to three of the model's windows, and noise over full scale."""
    files = [item.captions[0].speech for item in scenes.items[:9]]
    clips = [read_speech(file, 16_000) for file in files if file is not None]
    noise = np.random.default_rng(0).normal(scale=0.5, size=150_000)
    return [*clips, noise.astype(np.float32)]


def test_dnsmos_is_that_of_its_package(scenes: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    # Its P.808 score alone needs librosa, and nobody asks for it.
    librosa = types.ModuleType("librosa")
    features = {"melspectrogram": lambda **_: np.zeros((120, 900), dtype=np.float32)}
    monkeypatch.setattr(librosa, "feature", types.SimpleNamespace(**features), raising=False)
    monkeypatch.setattr(librosa, "power_to_db", lambda power, ref: power, raising=False)
    monkeypatch.setitem(sys.modules, "librosa", librosa)
    from speechmos import dnsmos as package

    measure = Dnsmos().loaded("cpu", 1)
    clips = _clips(scenes)
    assert len(clips) == 10
    for clip in clips:
        [(signal, background, overall, items)] = measure([clip])
        known = package.run(np.clip(clip, -1, 1), 16_000)
        theirs = [known[f"{name}_mos"] for name in ("sig", "bak", "ovrl")]
        assert [signal, background, overall] == pytest.approx(theirs, abs=1e-6)
        assert items == 1


def test_other_weights_of_dnsmos_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Dnsmos().weights() == "269fbebdb513aa23"
    monkeypatch.setattr(dnsmos, "_DIGEST", "0")
    with pytest.raises(UserError, match="its weights are not those of speechmos"):
        Dnsmos().weights()
    monkeypatch.setattr(dnsmos, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"dnsmos: is not installed; .* pip install '.\[quality\]'"):
        Dnsmos().weights()


def test_speaking_rate_is_words_over_minutes_of_what_was_spoken() -> None:
    rows = pl.DataFrame(
        {
            "item": ["a", "b", "c"],
            "status": ["ok", "ok", "failed"],
            "transcript": ["Two dogs -- run.", "♪ a dog's 2 toys ♪", None],
            "seconds": [2.0, 4.0, 3.0],
        }
    )
    metric = SpeakingRate()
    counted = metric.statistics(rows)
    assert counted.tolist() == [[3, 2], [4, 4], [0, 0]]
    assert metric.score(counted.sum(0)).tolist() == [70]
    assert metric.score(counted[2]).tolist() == [0]


def test_speech_that_is_not_stored_is_one_line(tmp_path: Path, scenes: Dataset) -> None:
    (tmp_path / "wavs").mkdir()
    names = [item.id for item in scenes.items[:3]]
    for name in names[:2]:
        (tmp_path / "wavs" / f"{name}.wav").touch()
    system = {"kind": "wavs", "label": "mine", "folder": str(tmp_path / "wavs")}
    content = {"name": "j", "dataset": {"name": "scenes"}, "systems": [system]}
    job = Job.model_validate(content | {"scoring": {"metrics": [METRIC]}})
    asr = WhisperAsr()
    cells = expand(job, scenes, [(asr, {"asr": asr.label})])
    ledger = Ledger(tmp_path / "ledger")
    run = RunState(job, scenes, 3, cells, ledger=ledger, speech=tmp_path / "speech")
    [cell] = cells
    rows = [SpeechRow(item=name, status="ok", file=f"{name}.wav") for name in names]
    run.commit_speech(cell.speech_key, rows)
    run.commit_transcripts(
        cell, [TranscriptRow(item=name, status="ok", seconds=1.0) for name in names]
    )
    assert (run.missing, run.unmeasured) == (0, 3)
    [line] = lost_speech(run)
    assert line.startswith(
        f"mine: speech of 1 of 3 items is not stored, so {METRIC} cannot measure"
    )
    assert names[2] in line
