"""`narration.json`, which describes a folder of speech that `pixvox narrate` wrote."""

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationError

from bench.common.errors import UserError
from bench.common.yamlfile import Strict, read_small

NARRATION = "narration.json"
SYNTHETIC: Final = "synthetic, one voice"
"""The kind of this speech, and of the scenes' speech, in tables."""

_Text = Annotated[str, Field(max_length=300)]


class Narration(Strict):
    """The voice and the captions of a narration, without any fact of a machine or a time."""

    voice: _Text
    """The voice's name."""
    voice_digest: _Text
    """The digest of the voice's model."""
    normalisation: _Text
    """How texts were cleaned before they were read."""
    codec_digest: _Text | None = None
    """The digest of the units' codec; None where there are no units."""
    bandwidth: float | None = None
    """That codec's bandwidth in kbps."""
    speech: Literal["synthetic, one voice"] = SYNTHETIC
    """The kind of speech."""
    dataset: _Text
    """The dataset's name."""
    splits: tuple[_Text, ...]
    """The dataset's splits, sorted."""


def read_narration(folder: Path) -> Narration | None:
    """Returns the description of a folder's speech; None where it was not narrated.

    Raises UserError for a file that cannot be read.
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
    """Returns the kind of a folder's speech: as described, or `otherwise` if not narrated."""
    narration = read_narration(folder) if folder is not None else None
    return narration.speech if narration is not None else otherwise
