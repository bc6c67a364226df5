"""Computes audio metrics of clips on the device of a transcriber."""

from collections.abc import Sequence

import numpy as np

from bench.common.audio import SpeechError, Wave, resample
from bench.common.machinefaults import is_machines
from bench.common.text import reason_of
from bench.metrics.base import AudioMetric, Measure
from bench.metrics.loading import metric_of
from bench.metrics.settings import MetricEntry
from bench.store.rows import MeasuredRow


class Sound:
    """Speech `[T]` at its own rate in Hz; copies at other rates are computed once."""

    def __init__(self, wave: Wave, rate: int) -> None:
        self.wave = wave
        self.rate = rate
        self._resampled: dict[int, Wave] = {}

    @property
    def seconds(self) -> float:
        """The duration in seconds."""
        return len(self.wave) / self.rate

    def at(self, rate: int) -> Wave:
        """Returns the speech resampled to a rate in Hz."""
        if rate not in self._resampled:
            self._resampled[rate] = resample(self.wave, self.rate, rate)
        return self._resampled[rate]


class Measurer:
    """Holds one audio metric, loaded on a device; raises UserError where it cannot be loaded."""

    def __init__(self, entry: MetricEntry, device: str, threads: int) -> None:
        metric = metric_of(entry)
        assert isinstance(metric, AudioMetric)
        self._metric = metric
        self._measure: Measure = metric.loaded(device, threads)

    def rows(self, items: Sequence[str], sounds: Sequence[Sound]) -> list[MeasuredRow]:
        """Returns one row for every item's sound, in order."""
        size = self._metric.batch
        clips = [sound.at(self._metric.rate) for sound in sounds]
        rows = []
        for start in range(0, len(clips), size):
            rows += self._values(clips[start : start + size])
        return [
            MeasuredRow(item=item, status="failed", reason=value)
            if isinstance(value, str)
            else MeasuredRow(item=item, status="ok", values=value)
            for item, value in zip(items, rows, strict=True)
        ]

    def _values(self, clips: Sequence[Wave]) -> list[tuple[float, ...] | str]:
        """Returns each clip's values, one a column, or the reason why there are none.

        The clips of a batch that fails are tried alone, so that a clip's values do not depend on
        whether the other clips of its batch can be measured.
        """
        # A short batch is padded, as for an ASR, so that rounding does not depend on its size.
        filled = [*clips, *[clips[0]] * (self._metric.batch - len(clips))]
        try:
            if not all(clip.size for clip in clips):
                raise SpeechError("the speech has no sound")
            values = self._checked(self._measure(filled))
        except Exception as error:
            reason = str(error) if isinstance(error, SpeechError) else reason_of(error)
            if is_machines(error, reason):
                raise
            # Any other exception of a metric's code is the failure of the clip.
            if len(clips) == 1:
                return [reason]
            return [value for clip in clips for value in self._values([clip])]
        return [tuple(row) for row in values[: len(clips)].tolist()]

    def _checked(self, given: object) -> "np.ndarray[tuple[int, int], np.dtype[np.float64]]":
        values = np.asarray(given, dtype=np.float64)
        wanted = (self._metric.batch, self._metric.values)
        if values.shape != wanted:
            raise ValueError(f"gave an array {list(values.shape)}, not {list(wanted)}")
        if not np.isfinite(values).all():
            raise ValueError("gave no finite number")
        return values.reshape(wanted)
