"""Speaker similarity: voices are those of Resemblyzer, and references are the job's."""

from pathlib import Path

import numpy as np
import pytest

from bench.common.audio import Wave, read_speech
from bench.common.errors import UserError
from bench.datasets.base import Dataset
from bench.jobs.measurements import measurements_of
from bench.metrics import packaged, speaker
from bench.metrics.base import ItemFiles
from bench.metrics.counted import audio_statistics
from bench.metrics.loading import check_metrics, files_of, metric_of, metrics_text
from bench.metrics.speaker import SpeakerSettings, SpeakerSimilarity
from bench.store.rows import MEASURED_SCHEMA, MeasuredRow, frame, measured_columns

pytestmark = pytest.mark.slow

FIRST = (
    (0.019578, 0.0, 0.061935, 0.0, 0.017711, 0.0),
    (0.039486, 0.0, 0.115113, 0.0, 0.0, 0.0),
    (0.010988, 0.0, 0.071031, 0.0, 0.011873, 0.0),
    (0.057105, 0.0, 0.072743, 0.0, 0.0, 0.0),
    (0.053566, 0.0, 0.083167, 0.0, 0.0, 0.0),
    (0.030257, 0.0, 0.081951, 0.0, 0.0, 0.0),
    (0.0, 0.0, 0.084853, 0.0, 0.0, 0.0),
    (0.029505, 0.0, 0.113041, 0.0, 0.0, 0.0),
    (0.019008, 0.0, 0.075998, 0.0, 0.0, 0.0),
    (0.050432, 0.0, 0.098146, 0.0, 0.009074, 0.0),
)
COSINES = (1.0, 0.92139, 0.97306, 0.91069, 0.93819, 0.93526, 0.93074, 0.95034, 0.92098, 0.98231)
"""What `VoiceEncoder().embed_utterance(preprocess_wav(clip))` of Resemblyzer 0.1.4 gives with
librosa 0.11.0 and webrtcvad-wheels 2.0.14.post1: the first six values, and cosines with the first
clip."""


def _clips(scenes: Dataset) -> list[Wave]:
    """Nine recordings, and two of them with a pause of 1.5 s between."""
    files = [item.captions[0].speech for item in scenes.items[:9]]
    clips = [read_speech(file, 16_000) for file in files if file is not None]
    return [*clips, np.concatenate([clips[0], np.zeros(24_000, np.float32), clips[1]])]


def test_voices_are_those_of_resemblyzer(scenes: Dataset) -> None:
    measure = SpeakerSimilarity().loaded("cpu", 1)
    voices = np.concatenate([measure([clip]) for clip in _clips(scenes)])
    assert voices.shape == (10, 256)
    assert voices[:, :6] == pytest.approx(np.array(FIRST), abs=1e-6)
    assert voices @ voices[0] == pytest.approx(np.array(COSINES), abs=1e-5)
    # All that is quieter than -30 dB is raised to that.
    [quiet], [quieter] = (measure([scale * _clips(scenes)[1]]) for scale in (0.01, 0.001))
    assert quiet == pytest.approx(quieter, abs=1e-5)
    # Without a voice there are zeros, so that a floor of noise has a score: 0.
    for silent in (np.zeros(16_000, np.float32), np.full(300, 0.1, np.float32)):
        assert not measure([silent]).any()


def test_another_reference_measures_no_speech_again(scenes: Dataset, tmp_path: Path) -> None:
    items = scenes.items[:4]
    files = files_of(items, 0)
    voice = files[items[1].id].recording
    assert voice is not None
    named = SpeakerSettings(name="speaker_similarity", voice=voice)
    own, other = measurements_of(["speaker_similarity"]), measurements_of([named])
    assert (own[0].facts, str(own[0].entry)) == (other[0].facts, str(other[0].entry))
    assert metrics_text(["speaker_similarity"]).endswith("@v1.39373b86.recordings")
    assert "speaker_similarity@v1.39373b86.voice-" in metrics_text([named])

    metric = SpeakerSimilarity()
    measure = metric.loaded("cpu", 1)
    recordings = [each.recording for each in files.values()]
    waves = [read_speech(path, 16_000) for path in recordings if path is not None]
    rows = [
        MeasuredRow(item=item.id, status="ok", values=tuple(measure([wave])[0].tolist()))
        for item, wave in zip(items[:3], waves, strict=False)
    ]
    rows.append(MeasuredRow(item=items[3].id, status="failed", reason="the speech has no sound"))
    table = measured_columns(frame(rows, MEASURED_SCHEMA), metric.name)
    counted = audio_statistics(metric, table, files=files, cache=tmp_path)
    # Its own recording, and none.
    assert counted == pytest.approx(np.array([[1, 1], [1, 1], [1, 1], [0, 1]]), abs=1e-6)
    assert metric.score(counted.sum(0)) == pytest.approx([75], abs=1e-4)
    [one] = tmp_path.glob("voices-*.parquet")
    before = one.stat().st_mtime_ns
    single = audio_statistics(metric_of(named), table, files=files, cache=tmp_path)
    assert single[:3, 0] == pytest.approx([COSINES[1], 1.0, 0.9], abs=0.05)
    assert single[1, 0] == pytest.approx(1, abs=1e-6)
    # Its voice was known from the items' own recordings.
    assert one.stat().st_mtime_ns == before


def test_what_is_lacking_is_one_line(
    scenes: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = files_of(scenes.items[:2], 0)
    check_metrics(["speaker_similarity"], files)
    image = scenes.items[0].image
    with pytest.raises(
        UserError, match=r"1 of 3 items have no recorded speech .*; first: x; name a voice"
    ):
        check_metrics(["speaker_similarity"], files | {"x": ItemFiles(image)})
    odd = SpeakerSettings(name="speaker_similarity", voice=image)
    with pytest.raises(
        UserError, match=r"speaker_similarity: voice: .*: no recording of a voice; name one"
    ):
        check_metrics([odd], files)
    monkeypatch.setattr(
        speaker, "_WEIGHTS", packaged.PackagedWeights(**(vars(speaker._WEIGHTS) | {"digest": "0"}))
    )
    with pytest.raises(UserError, match=r"its weights are not those of Resemblyzer==0\.1\.4"):
        check_metrics(["speaker_similarity"], files)
    monkeypatch.setattr(packaged, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"is not installed; run: pip install --no-deps Resembl"):
        check_metrics(["speaker_similarity"], files)
