"""Which ASR a job means, and what a transcript of it depends on."""

from pathlib import Path
from typing import Any

from bench.asr.base import Transcriber
from bench.asr.spec import AsrSpec
from bench.common.errors import UserError


def _module(spec: AsrSpec) -> Any:
    """The module of its backend."""
    from bench.asr import ctc, faster, whisper

    modules = {"openai-whisper": whisper, "faster-whisper": faster, "transformers-ctc": ctc}
    return modules[spec.backend]


def locate(spec: AsrSpec) -> Path:
    """The checkpoint's file or folder, fetched if it must be; raises UserError with the fix."""
    return _module(spec).locate(spec.model)


def asr_facts(spec: AsrSpec, checkpoint: Path) -> dict[str, Any]:
    """All that a transcript depends on beside the speech, digests for names.

    Raises UserError for weights that cannot be read.
    """
    from pixvox.digests import WeightsError, archive_digest, folder_digest

    try:
        whole = folder_digest(checkpoint) if checkpoint.is_dir() else archive_digest(checkpoint)
    except WeightsError as error:
        raise UserError(f"asr.model: {error}") from error
    return {
        "asr": spec.backend,
        "weights": whole,
        "beam_size": spec.beam_size,
        "batch": spec.batch,
        "arithmetic": spec.arithmetic,
        "protocol": _module(spec).PROTOCOL,
    }


def make_transcriber(spec: AsrSpec, checkpoint: str, device: str, threads: int) -> Transcriber:
    """The transcriber of a specification; raises UserError for float16 on a CPU."""
    if spec.arithmetic == "float16" and not device.startswith("cuda"):
        raise UserError("asr.arithmetic: float16 needs a GPU; use float32")
    half = spec.arithmetic == "float16"
    match spec.backend:
        case "openai-whisper":
            from bench.asr.whisper import WhisperTranscriber

            return WhisperTranscriber(Path(checkpoint), device, spec.beam_size, half)
        case "faster-whisper":
            from bench.asr.faster import FasterTranscriber

            return FasterTranscriber(Path(checkpoint), device, spec.beam_size, half, threads)
        case "transformers-ctc":
            from bench.asr.ctc import CtcTranscriber

            return CtcTranscriber(Path(checkpoint), device, half)
