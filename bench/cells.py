"""Cells: the units of evaluation, each named by the hash of all that its result depends on.

Stage keys nest. What was spoken does not depend on who listens, so another ASR re-uses the
speech; what was heard does not depend on the metric.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from bench.spec import SystemSpec


@dataclass(frozen=True)
class Cell:
    """One system at one prompt share on one dataset."""

    label: str
    system: SystemSpec
    pattern: str
    prompt: float
    speech_key: str
    heard_key: str

    @property
    def slug(self) -> str:
        """The cell's name as a folder: its label, its prompt share in percent, its key."""
        plain = "".join(c if c.isalnum() else "-" for c in self.label.lower()).strip("-")
        return f"{plain}-{round(100 * self.prompt)}-{self.speech_key[:8]}"


def key_of(content: dict[str, Any]) -> str:
    """The hash of a canonical JSON, 16 hex digits."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
