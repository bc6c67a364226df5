"""The rows of the ledger: one an item and stage, failures included."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from bench.common.text import as_reason
from bench.datasets.base import Item

GENERATED_SCHEMA: dict[str, Any] = {
    "item": pl.String,
    "status": pl.String,
    "reason": pl.String,
    "cause": pl.String,
    "units": pl.Binary,
    "audio": pl.Binary,
    "file": pl.String,
    "codebooks": pl.Int32,
    "prompt_frames": pl.Int32,
    "caption": pl.Int32,
    "ended": pl.Boolean,
    "device": pl.String,
}
TRANSCRIBED_SCHEMA: dict[str, Any] = {
    "item": pl.String,
    "status": pl.String,
    "reason": pl.String,
    "cause": pl.String,
    "transcript": pl.String,
    "seconds": pl.Float64,
    "peak": pl.Float64,
    "no_speech_prob": pl.Float64,
    "avg_logprob": pl.Float64,
    "compression_ratio": pl.Float64,
    "device": pl.String,
}


@dataclass(frozen=True)
class SpeechRow:
    """What a system made of one item.

    `units` are int16 `[K, N]` in C order; empty where there is `audio` (FLAC), a `file` below the
    system's folder, or recorded speech, which is read where it lies. `caption` is the number of
    the caption that was spoken or gave the prompt, -1 for none. A failed row's `cause` is
    `machine` where a process died or hung over it: that may go better another time, what is
    wrong with the item itself will not. `device` is what computed it.
    """

    item: str
    status: str
    reason: str = ""
    cause: str = ""
    units: bytes = b""
    audio: bytes = b""
    file: str = ""
    codebooks: int = 0
    prompt_frames: int = 0
    caption: int = -1
    ended: bool = True
    device: str = ""

    @property
    def final(self) -> bool:
        """Whether another run would leave the row as it is."""
        return self.cause != "machine"

    @property
    def array(self) -> "np.ndarray[Any, np.dtype[np.int16]]":
        """The units as `[K, N]`."""
        return np.frombuffer(self.units, dtype=np.int16).reshape(self.codebooks, -1)


@dataclass(frozen=True)
class TranscriptRow:
    """What the transcriber made of one item's speech, `seconds` long, its loudest sample `peak`.

    What an ASR does not know of itself is NaN.
    """

    item: str
    status: str
    reason: str = ""
    cause: str = ""
    transcript: str = ""
    seconds: float = 0.0
    peak: float = 0.0
    no_speech_prob: float = 0.0
    avg_logprob: float = 0.0
    compression_ratio: float = 0.0
    device: str = ""


@dataclass(frozen=True)
class ToTranscribe:
    """One row to transcribe, whose item it is, and where its speech is kept, if it is."""

    row: SpeechRow
    item: Item
    keep: Path | None


def packed(units: "np.ndarray[Any, Any]") -> bytes:
    """Units `[K, N]` as a row keeps them."""
    return np.ascontiguousarray(units, dtype=np.int16).tobytes()


def frame(rows: "list[SpeechRow] | list[TranscriptRow]", schema: dict[str, Any]) -> pl.DataFrame:
    """Rows as a Polars frame of the ledger's schema; here every reason becomes one of ours."""
    made = [asdict(row) | {"reason": as_reason(row.reason)} for row in rows]
    return pl.DataFrame(made, schema=schema)
