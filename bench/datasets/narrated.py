"""What a folder of captions that `pixvox narrate` read aloud is: `narration.json` in it."""

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationError

from bench.common.errors import UserError
from bench.common.yamlfile import Strict, read_small

NARRATION = "narration.json"
SYNTHETIC: Final = "synthetic, one voice"
"""The kind of such speech, and of the scenes', in tables."""

_Text = Annotated[str, Field(max_length=300)]


class Narration(Strict):
    """Who read which captions aloud. Nothing in it is of a machine or a time."""

    voice: _Text
    """The voice's name."""
    voice_digest: _Text
    """The digest of what it computes with."""
    normalisation: _Text
    """How texts were cleaned before they were read."""
    codec_digest: _Text | None = None
    """The digest of the codec that made the units; None where there are none."""
    bandwidth: float | None = None
    """That codec's bandwidth in kbps."""
    speech: Literal["synthetic, one voice"] = SYNTHETIC
    """The kind of speech."""
    dataset: _Text
    """The dataset's name."""
    splits: tuple[_Text, ...]
    """The dataset's splits, sorted."""


def read_narration(folder: Path) -> Narration | None:
    """What a folder's speech was read by; None where it was not narrated.

    Raises UserError for a description that cannot be read.
    """
    path = folder / NARRATION
    if not path.exists():
        return None
    try:
        return Narration.model_validate_json(read_small(path, 1_000_000))
    except ValidationError as error:
        raise UserError(
            f"{path}: not what pixvox narrate writes; narrate into another folder"
        ) from error


def kind_of_speech(folder: Path | None, otherwise: str) -> str:
    """The kind of a folder's speech in words: `otherwise`, unless its captions were narrated."""
    narration = read_narration(folder) if folder is not None else None
    return narration.speech if narration is not None else otherwise
