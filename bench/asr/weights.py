"""The base class of ASRs with weights, which all ASRs of the suite have."""

from abc import abstractmethod
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from bench.asr.base import Asr, Facts
from bench.common.errors import UserError
from bench.common.yamlfile import WeightsName
from pixvox.digests import WeightsError, archive_digest, folder_digest
from pixvox.weights import placed

BeamSize = Annotated[int, Field(ge=1, le=64, description="each beam takes its memory and time")]


class WeightsAsr(Asr):
    """An ASR whose model is named by its weights."""

    model: WeightsName
    """A name that the backend knows, a file or a folder; `tiny.en` comes with the suite, `base`
    with the extra `whisper-base`."""
    beam_size: BeamSize | None = None
    """How many beams are searched; `null` decodes greedily."""
    arithmetic: Literal["float32", "float16"] = "float32"
    """The precision of the model; `float16` needs a GPU."""

    @property
    def label(self) -> str:
        """Backend and model, without the folders before a file's name."""
        return f"{self.backend} {Path(self.model).name}"

    def facts(self) -> dict[str, Any]:
        return {
            "asr": self.backend,
            "weights": self.digest(),
            "beam_size": self.beam_size,
            "batch": self.batch_in_key,
            "arithmetic": self.arithmetic,
            "protocol": self.protocol,
        }

    @property
    def placed_as(self) -> str:
        """The backend and the model's name, which two backends may have for other weights."""
        return f"{self.backend} {self.model}"

    def locate(self) -> Path:
        return placed(self.placed_as) or self.find()

    @abstractmethod
    def find(self) -> Path:
        """Returns the path that `locate` returns, on the driver's machine."""

    def digest(self) -> str:
        """Returns the digest of the weights, 16 hex digits; raises UserError as `facts`."""
        path = self.locate()
        try:
            return folder_digest(path) if path.is_dir() else archive_digest(path)
        except WeightsError as error:
            raise UserError(f"asr.model: {error}") from error

    def signature_part(self, facts: Facts) -> str:
        """Returns the engine, the weights' digest and how it decodes.

        The model's name may be a path, so it is left out.
        """
        how = f"beam{self.beam_size}" if self.beam_size else "greedy"
        engine = f"{self.backend}@{facts['weights']}"
        return f"{engine}.{how}.{self.arithmetic}.v{facts['protocol']}"

    def described(self) -> list[str]:
        return [f"beam {self.beam_size}"] if self.beam_size else []

    def in_words(self, facts: Facts) -> str:
        return super().in_words(facts) + ("" if self.beam_size else ", greedy")

    def half(self, device: str) -> bool:
        """Returns whether it computes in float16; raises UserError for that on a CPU."""
        if self.arithmetic == "float16" and not device.startswith("cuda"):
            raise UserError("asr.arithmetic: float16 needs a GPU; use float32")
        return self.arithmetic == "float16"
