"""The rows of the ledger: one for each item and stage, failures included."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import polars as pl

from bench.common.text import as_reason
from bench.datasets.base import Item
from bench.store.columns import Column, Columns, columns_of, schema

_Item = Annotated[str, pl.String, "The item's id in its dataset."]
_Status = Annotated[str, pl.String, "`ok`, or `failed`."]
_Reason = Annotated[str, pl.String, "Why it failed, in one line; empty where it did not."]
_Cause = Annotated[
    str,
    pl.String,
    "`machine` if a process died or hung on the item, which the next run tries again; else empty.",
]


@dataclass(frozen=True, kw_only=True)
class SpeechRow:
    """The speech that a system generated for one item.

    A row without units, audio or file is of a system whose speech the transcriber reads from the
    dataset or computes.
    """

    item: _Item
    status: _Status
    reason: _Reason = ""
    cause: _Cause = ""
    units: Annotated[bytes, pl.Binary, "The codec's units, int16 `[codebooks, frames]`."] = b""
    audio: Annotated[bytes, pl.Binary, "The speech as FLAC, where it is no units."] = b""
    file: Annotated[
        str,
        pl.String,
        "The speech's file below the system's folder, or the training caption `ID#N`.",
    ] = ""
    codebooks: Annotated[int, pl.Int32, "The number of codebooks in `units`."] = 0
    prompt_frames: Annotated[
        int, pl.Int32, "The number of first frames that are the prompt and were not generated."
    ] = 0
    caption: Annotated[
        int,
        pl.Int32,
        "The number of the caption that was spoken or that the prompt is cut from; -1 for none.",
    ] = -1
    ended: Annotated[
        bool, pl.Boolean, "Whether the speech ended before the longest that was allowed."
    ] = True
    device: Annotated[str, pl.String, "What generated it: `cpu`, or the name of a GPU."] = ""

    @property
    def final(self) -> bool:
        """Whether another run keeps the row; a machine's failure is tried again."""
        return self.cause != "machine"

    @property
    def frames(self) -> int:
        """How many frames its units have, the prompt's included; 0 where it has none."""
        return len(self.units) // (2 * max(self.codebooks, 1))

    @property
    def array(self) -> "np.ndarray[Any, np.dtype[np.int16]]":
        """The units, int16 `[K, N]`."""
        return np.frombuffer(self.units, dtype=np.int16).reshape(self.codebooks, -1)


@dataclass(frozen=True, kw_only=True)
class TranscriptRow:
    """The transcript of one item's speech; a figure that the ASR does not give is NaN."""

    item: _Item
    status: _Status
    reason: _Reason = ""
    cause: _Cause = ""
    transcript: Annotated[str, pl.String, "The transcript as the ASR returned it."] = ""
    seconds: Annotated[float, pl.Float64, "The duration of the transcribed speech in s."] = 0.0
    peak: Annotated[float, pl.Float64, "Its loudest sample; full scale is 1."] = 0.0
    no_speech_prob: Annotated[
        float, pl.Float64, "Whisper's probability that nobody speaks; NaN from other ASRs."
    ] = 0.0
    avg_logprob: Annotated[
        float, pl.Float64, "The ASR's mean log-probability; NaN where it gives none."
    ] = 0.0
    compression_ratio: Annotated[
        float,
        pl.Float64,
        "Whisper's compression ratio of the text, high if it repeats itself; NaN from other ASRs.",
    ] = 0.0
    device: Annotated[str, pl.String, "What transcribed it: `cpu`, or the name of a GPU."] = ""


@dataclass(frozen=True, kw_only=True)
class MeasuredRow:
    """The values that an audio metric measured of one item's speech."""

    item: _Item
    status: _Status
    reason: _Reason = ""
    cause: _Cause = ""
    values: Annotated[
        tuple[float, ...],
        pl.List(pl.Float64),
        "The values of the metric's columns, in their order; empty if it failed.",
    ] = ()
    device: Annotated[str, pl.String, "What measured it: `cpu`, or the name of a GPU."] = ""


GENERATED = columns_of(SpeechRow)
TRANSCRIBED = columns_of(TranscriptRow)
MEASURED = columns_of(MeasuredRow)
GENERATED_SCHEMA = schema(GENERATED)
TRANSCRIBED_SCHEMA = schema(TRANSCRIBED)
MEASURED_SCHEMA = schema(MEASURED)

_NAMED = {column.name: column for column in GENERATED}
JOINED: Columns = (
    *(_NAMED[name] for name in ("caption", "prompt_frames", "ended")),
    Column("generated_on", pl.String, "What generated the speech: `cpu`, or the name of a GPU."),
    Column("frames", pl.UInt32, "How many frames of units the speech has, its prompt included."),
)
"""Columns about the speech, which are joined to its transcript."""


@dataclass(frozen=True, kw_only=True)
class ToTranscribe:
    """One row to transcribe and its item; with `keep`, its speech is returned too.

    `file` is the path of the speech, if the row does not hold it and the driver has resolved it.
    `metrics` are the audio metrics to compute, as the job names them. A row that `is_transcribed`
    is only measured. One that is `alone` is decoded alone, to measure how long that takes.
    """

    row: SpeechRow
    item: Item
    keep: bool = False
    file: Path | None = None
    metrics: tuple[str, ...] = ()
    is_transcribed: bool = False
    alone: bool = False


class Transcribed(NamedTuple):
    """A transcribed row and, if it was asked for, its speech as the bytes of a WAV file.

    `measured` has a row for each metric that was asked for, in order. If the speech was transcribed
    before, `row` has no transcript and says only whether the speech could be decoded.
    """

    row: TranscriptRow
    wav: bytes = b""
    measured: tuple[MeasuredRow, ...] = ()


def measured_columns(rows: pl.DataFrame, metric: str) -> pl.DataFrame:
    """Returns a metric's values and reasons, by item, as two columns to join to transcripts."""
    values, reason = measured_names(metric)
    measured = pl.when(status="ok").then("values")
    return rows.select("item", measured.alias(values), pl.col("reason").alias(reason))


def measured_names(metric: str) -> tuple[str, str]:
    """Returns the names of the two columns of `measured_columns`."""
    return f"{metric}: values", f"{metric}: reason"


def packed(units: "np.ndarray[Any, Any]") -> bytes:
    """Returns units `[K, N]` as the bytes of a row's `units`."""
    return np.ascontiguousarray(units, dtype=np.int16).tobytes()


def frame(
    rows: "list[SpeechRow] | list[TranscriptRow] | list[MeasuredRow]", wanted: dict[str, Any]
) -> pl.DataFrame:
    """Returns rows as a frame of the ledger's schema; every reason is formatted here."""
    columns: dict[str, list[Any]] = {name: [getattr(row, name) for row in rows] for name in wanted}
    columns["reason"] = [as_reason(reason) for reason in columns["reason"]]
    return pl.DataFrame(columns, schema=wanted)
