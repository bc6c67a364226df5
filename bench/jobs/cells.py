"""Cells: the units of evaluation, each named by the hash of all that its result depends on.

Stage keys nest. What was generated does not depend on who transcribes, so another ASR re-uses the
speech; what was transcribed does not depend on the metric.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from bench.asr.base import Asr
from bench.datasets.base import Choice
from bench.systems.base import System, Variant


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One system at one point of the grid, transcribed by one ASR (None: it is a text).

    `caption` is the job's choice of the caption that ceilings say and prompts are cut from.
    `part` is `continuation` where only what follows the prompt is transcribed. `weights` and
    `codec` are digests, empty where there are none, and `trained_on` the datasets that the weights
    say they were trained on. `plugins` are those that its speech depends on. With a `source`, the
    cell's transcripts are that cell's of other images, and nothing of its own is generated or kept.
    """

    label: str
    system: System
    pattern: str
    prompt: float
    asr: Asr | None
    part: str
    speech_key: str
    transcript_key: str
    caption: Choice = "rotating"
    weights: str = ""
    codec: str = ""
    source: "Cell | None" = None
    trained_on: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()

    @property
    def slug(self) -> str:
        """The speech's name as a folder: its label, its prompt share in percent, its key."""
        plain = "".join(c if c.isalnum() else "-" for c in self.label.lower()).strip("-")
        # A file system counts bytes, of which letters of other alphabets take up to four.
        plain = plain.encode()[:120].decode(errors="ignore")
        return f"{plain}-{round(100 * self.prompt)}-{self.speech_key[:8]}"

    @property
    def name(self) -> str:
        """The cell's own name: that of its speech, and who transcribed it."""
        return f"{self.slug}-{self.transcript_key[:8]}"

    @property
    def seed(self) -> int | None:
        """The seed of the system's random numbers; None for systems without one."""
        seed: int | None = self.system.point().get("seed")
        return seed

    @property
    def variant(self) -> Variant:
        """How the system is to generate for this cell."""
        return Variant(self.speech_key, self.prompt, self.system, self.caption)

    @property
    def generator(self) -> System:
        """What one generator has to hold: the same for all variants that share its weights."""
        return self.system.shared()


def key_of(content: dict[str, Any]) -> str:
    """Returns the hash of a canonical JSON, 16 hex digits."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
