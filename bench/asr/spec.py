"""Which ASR a job asks for, and how it decodes."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from bench.common.validation import keys_error
from bench.common.yamlfile import Strict, WeightsName

BeamSize = Annotated[int, Field(ge=1, le=64, description="each beam takes its memory and time")]


class AsrSpec(Strict):
    """Who transcribes: greedy unless a beam is asked for; `batch` clips at a time.

    `model` is a name that the backend knows, a file or a folder; tiny.en comes with the suite.
    """

    backend: Literal["openai-whisper", "faster-whisper", "transformers-ctc"] = "openai-whisper"
    model: WeightsName = "tiny.en"
    beam_size: BeamSize | None = None
    batch: Annotated[int, Field(ge=1, le=1024, description="clips held in memory at once")] = 8
    arithmetic: Literal["float32", "float16"] = "float32"

    @model_validator(mode="after")
    def _beam(self) -> "AsrSpec":
        if self.backend == "transformers-ctc" and self.beam_size is not None:
            reason = "transformers-ctc decodes greedily, as Im2Sp does; remove it"
            raise keys_error({"beam_size": reason})
        return self

    @property
    def label(self) -> str:
        """What tables call it: backend and model, without the folders before a file's name."""
        return f"{self.backend} {Path(self.model).name}"
