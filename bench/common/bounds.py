"""Types of values in users' files, with their bounds; a description gives a bound's reason."""

import math
import unicodedata
from typing import Annotated, Any

from pydantic import AfterValidator, Field

MAX_SPEECH_SECONDS = 30.0
"""The length of Whisper's window; longer speech is not transcribed and becomes a failed row."""
_WINDOW = "the ASR takes 30 s of speech at once"

Seed = Annotated[int, Field(ge=0, lt=2**32, description="seeds are 32-bit numbers")]
CaptionNumber = Annotated[int, Field(ge=0, le=999, description="captions are numbered from 0")]
Number = Annotated[int, Field(ge=0, le=32_767, description="units are 16-bit numbers")]
Count = Annotated[int, Field(ge=1, le=10_000_000)]
Share = Annotated[float, Field(ge=0, lt=1, description="a share of the speech, as in 0.25")]
SomeShare = Annotated[float, Field(gt=0, lt=1, description="a share of the speech, as in 0.25")]
Slots = Annotated[int, Field(ge=1, le=4096, description="each takes memory for one sequence")]
Scale = Annotated[float, Field(ge=0, le=100, description="a scale of guidance; 1 is no guidance")]
Run = Annotated[int, Field(ge=0, le=1000, description="frames; 0 for no bound")]
Candidates = Annotated[int, Field(ge=1, le=1000, description="all of them are generated")]
TopP = Annotated[float, Field(gt=0, le=1, description="a probability")]
SpeechSeconds = Annotated[float, Field(ge=0.1, le=MAX_SPEECH_SECONDS, description=_WINDOW)]
Decibels = Annotated[
    float, Field(ge=-60, le=100, description="beyond it, speech or noise is inaudible")
]
Bandwidth = Annotated[float, Field(gt=0, le=1000, description="in kbps")]
Actors = Annotated[int, Field(ge=0, le=1000, description="each is a process that holds a model")]
Workers = Annotated[int, Field(ge=1, le=1000, description="each is a process that holds a model")]
Threads = Annotated[int, Field(ge=0, le=1024, description="no machine in use has more")]


def _temperature(value: float) -> float:
    if value != 0 and not 0.001 <= value <= 100:
        raise ValueError(
            f"must be 0 (greedy) or from 0.001 to 100, not {value:g}: smaller values overflow, and "
            "with larger ones all units are equally likely"
        )
    return value


Temperature = Annotated[float, AfterValidator(_temperature)]


def _alike(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value


_EACH = Field(min_length=1, max_length=64, description="one for each codebook")
_Alike = AfterValidator(_alike)
Temperatures = Annotated[Temperature | Annotated[tuple[Temperature, ...], _EACH], _Alike]
Numbers = Annotated[Number | Annotated[tuple[Number, ...], _EACH], _Alike]
TopPs = Annotated[TopP | Annotated[tuple[TopP, ...], _EACH], _Alike]
Guidance = Annotated[Scale | Annotated[tuple[Scale, ...], _EACH], _Alike]
"""One value for all codebooks, or a list of one for each."""


def _one_line(text: str) -> str:
    bad = next((c for c in text if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")), None)
    if bad is not None:
        raise ValueError(f"must be one line of plain text; remove {bad!r}")
    if not text.strip():
        raise ValueError("must not be blank")
    return text


def _option(value: Any) -> Any:
    if not isinstance(value, str | int | float | bool) or (
        isinstance(value, float) and not math.isfinite(value)
    ):
        raise ValueError("must be text, a number, true or false")
    return value


Option = Annotated[Any, AfterValidator(_option)]
"""A plain value that is passed to a user's own class."""
Label = Annotated[
    str, Field(max_length=100, description="tables show it"), AfterValidator(_one_line)
]
Note = Annotated[str, Field(max_length=200, description="tables show it")]
JobName = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9][a-z0-9_-]*$",
        max_length=100,
        description="its run's folder has this name: small letters, digits, - and _",
    ),
]
