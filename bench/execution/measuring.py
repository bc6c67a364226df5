"""Audio metrics at work on one device, beside the ASR: values of clips, or why there are none."""

from collections.abc import Sequence

import numpy as np

from bench.common.audio import SpeechError, Wave, resample
from bench.common.machinefaults import is_machines
from bench.common.text import reason_of
from bench.metrics.base import AudioMetric, Measure
from bench.metrics.loading import metric_of
from bench.store.rows import MeasuredRow


class Sound:
    """Speech `[T]` at its own rate in Hz, and, once each, at the rates that it is asked for."""

    def __init__(self, wave: Wave, rate: int) -> None:
        self.wave = wave
        self.rate = rate
        self._resampled: dict[int, Wave] = {}

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.wave) / self.rate

    def at(self, rate: int) -> Wave:
        """The speech at a rate in Hz."""
        if rate not in self._resampled:
            self._resampled[rate] = resample(self.wave, self.rate, rate)
        return self._resampled[rate]


class Measurer:
    """Holds one audio metric; raises UserError where it cannot be used."""

    def __init__(self, entry: str, device: str, threads: int) -> None:
        metric = metric_of(entry)
        assert isinstance(metric, AudioMetric)
        self._metric = metric
        self._measure: Measure = metric.loaded(device, threads)

    def rows(self, items: Sequence[str], sounds: Sequence[Sound]) -> list[MeasuredRow]:
        """One row for every item's sound, in order."""
        size = self._metric.batch
        clips = [sound.at(self._metric.rate) for sound in sounds]
        rows = []
        for start in range(0, len(clips), size):
            rows += self._values(clips[start : start + size])
        return [
            MeasuredRow(item, "failed", value)
            if isinstance(value, str)
            else MeasuredRow(item, "ok", values=value)
            for item, value in zip(items, rows, strict=True)
        ]

    def _values(self, clips: Sequence[Wave]) -> list[tuple[float, ...] | str]:
        """Each clip's columns, or why there are none; those of a batch that fails are tried alone,
        so that a clip's values never depend on whether its neighbours can be measured."""
        # As for an ASR: rounding must not depend on how many clips happened to be left.
        filled = [*clips, *[clips[0]] * (self._metric.batch - len(clips))]
        try:
            if not all(clip.size for clip in clips):
                raise SpeechError("the speech has no sound")
            values = self._checked(self._measure(filled))
        except Exception as error:
            reason = str(error) if isinstance(error, SpeechError) else reason_of(error)
            if is_machines(error, reason):
                raise
            # Whatever else a metric's code raises is that clip's failure, with its reason.
            if len(clips) == 1:
                return [reason]
            return [value for clip in clips for value in self._values([clip])]
        return [tuple(row) for row in values[: len(clips)].tolist()]

    def _checked(self, given: object) -> "np.ndarray[tuple[int, int], np.dtype[np.float64]]":
        values = np.asarray(given, dtype=np.float64)
        wanted = (self._metric.batch, len(self._metric.columns))
        if values.shape != wanted:
            raise ValueError(f"gave an array {list(values.shape)}, not {list(wanted)}")
        if not np.isfinite(values).all():
            raise ValueError("gave no finite number")
        return values.reshape(wanted)
