"""Cells: the units of evaluation, each named by the hash of all that its result depends on.

Keys are nested by stage: a speech's key does not depend on the ASR, so a second ASR uses the same
speech; a transcript's key does not depend on the metrics.
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
    """One system at one point of the grid, transcribed by one ASR; without an ASR it is a text.

    `caption` is the job's choice of the caption that ceilings speak and prompts are cut from.
    `part` is `continuation` if only the speech after the prompt is transcribed. `weights` and
    `codec` are digests, or empty; `trained_on` are the datasets that the weights name as their
    training data. `plugins` are those that its speech depends on. A cell with a `source` takes its
    transcripts from that cell, each for another image, and stores no rows.
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
        """The name of its folder of speech: the label, the prompt in percent, and the key."""
        plain = "".join(c if c.isalnum() else "-" for c in self.label.lower()).strip("-")
        # A file system counts bytes; a letter of another alphabet may take four.
        plain = plain.encode()[:120].decode(errors="ignore")
        return f"{plain}-{round(100 * self.prompt)}-{self.speech_key[:8]}"

    @property
    def name(self) -> str:
        """The cell's name: the name of its speech, and the ASR."""
        return f"{self.slug}-{self.transcript_key[:8]}"

    @property
    def seed(self) -> int | None:
        """The seed of the system's random numbers; None for systems without one."""
        seed: int | None = self.system.point().get("seed")
        return seed

    @property
    def variant(self) -> Variant:
        """The variant that the system generates for this cell."""
        return Variant(self.speech_key, self.prompt, self.system, self.caption)

    @property
    def generator(self) -> System:
        """The system that a generator loads, equal for all variants that can share one."""
        return self.system.shared()


def key_of(content: dict[str, Any]) -> str:
    """Returns the hash of a canonical JSON, 16 hex digits."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
