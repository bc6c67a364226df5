"""Speaker similarity: how near the voice of speech is to a reference voice.

Voices are the embeddings of Resemblyzer (Apache-2.0; Wan et al. 2018, "Generalized End-to-End Loss
for Speaker Verification"): an LSTM over windows of 1.6 s, whose means over the windows are scaled
to length 1. The package's own code needs librosa and SciPy; here it is NumPy and PyTorch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bench.common.audio import SpeechError, Wave, read_speech
from bench.common.threads import one_thread
from bench.common.yamlfile import FilePath
from bench.metrics.base import SHORT, Array, AudioMetric, Files, ItemFiles, Measure, Score
from bench.metrics.mels import RATE, mel_power
from bench.metrics.packaged import PackagedWeights
from bench.metrics.settings import MetricSettings
from bench.metrics.vectors import VectorFile, Vectors
from pixvox.digests import file_digest

_WEIGHTS = PackagedWeights(
    metric="speaker_similarity",
    module="resemblyzer",
    release="Resemblyzer==0.1.4",
    file="pretrained.pt",
    digest="39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e",
    needs=("webrtcvad",),
    install="run: pip install --no-deps Resemblyzer==0.1.4 webrtcvad-wheels==2.0.14.post1",
)
_SIZE = 256
"""Of an embedding, and of each layer."""
_MELS, _FRAME, _HOP = 40, 400, 160
"""Bands, and samples of a frame and from one to the next: 25 and 10 ms."""
_WINDOW, _STEP, _LEAST_COVERED = 160, 77, 0.75
"""Frames of a window and from one to the next (1.3 a second), and the share of the last window
that there has to be sound for."""
_LEVEL = -30.0
"""Quieter speech is raised to this many dB of full scale."""
_VAD_SAMPLES, _SMOOTHED, _LONGEST_SILENCE = 480, 8, 6
"""Samples of a decision of the voice activity detector (30 ms), how many decisions are averaged,
and how many silent ones stay between voiced ones."""


@dataclass(frozen=True)
class SpeakerSimilarity(AudioMetric):
    """The mean cosine of speech and its reference voice, × 100; an item without a voice has 0.

    The reference is the speech in the file `voice`, or else the recorded speech of the item's
    caption that the job takes: what a prompt is cut from. What is measured is the embedding, so
    that another reference measures no speech again.
    """

    voice: Path | None = None

    name = "speaker similarity"
    columns = ("cosine", "items")
    scores = (Score("speaker similarity", "SPK", display_priority=SHORT, most=100),)
    absent = (0.0, 1.0)
    measured = _SIZE

    def weights(self) -> str:
        return _WEIGHTS.checked_digest()

    def settings(self) -> str:
        return "recordings" if self.voice is None else f"voice-{_digest(self.voice)[:8]}"

    def unusable(self, files: Files) -> str:
        if self.voice is not None:
            has_voice = self.references([self.voice], VectorFile()).any()
            fix = f"voice: {self.voice}: no recording of a voice; name one"
            return "" if has_voice else fix
        lacking = [item for item, each in files.items() if not _is_there(each.recording)]
        if not lacking:
            return ""
        of = f"{len(lacking)} of {len(files)} items have no recorded speech to compare with"
        fix = "name a voice: {name: speaker_similarity, voice: FILE.wav}"
        return f"{of}; first: {lacking[0]}; {fix}"

    def measure(self, waves: Sequence[Wave]) -> Array:
        return self.loaded("cpu", 1)(waves)

    def loaded(self, device: str, threads: int) -> Measure:
        network = _network(_WEIGHTS.path(), device)
        return lambda waves: np.stack([_embedding(network, wave) for wave in waves]).astype(float)

    def statistics(self, values: Array, files: Sequence[ItemFiles], cache: Path) -> Array:
        """See AudioMetric; without a voice in the speech or its reference a cosine is 0."""
        known = VectorFile(cache / f"voices-{self.weights()}.parquet")
        references = self.references([self.voice or each.recording for each in files], known)
        known.save()
        cosines = np.clip((values * references).sum(1), 0, 1)
        return np.column_stack([cosines, np.ones(len(files))])

    def references(self, recordings: Sequence[Path | None], known: VectorFile) -> Vectors:
        """The voices of recordings, `[n, 256]`; zeros where there is none."""
        digests = {path: _digest(path) for path in set(recordings)}
        paths = {digest: path for path, digest in digests.items()}

        def compute(new: Sequence[str]) -> dict[str, Vectors]:
            network = _network(_WEIGHTS.path(), "cpu")
            return {digest: _voice_of(network, paths[digest]) for digest in new}

        with one_thread():
            return known.of([digests[path] for path in recordings], compute)

    def score(self, sums: Array) -> Array:
        return 100 * sums[..., :1] / np.maximum(sums[..., 1:], 1e-9)


def _is_there(recording: Path | None) -> bool:
    return recording is not None and recording.is_file()


def _voice_of(network: Any, recording: Path | None) -> Vectors:
    """The voice of a recording, `[256]`; zeros where it cannot be read, or has none."""
    try:
        if recording is not None:
            return _embedding(network, read_speech(recording, RATE))
    except SpeechError:
        # Whether the job's items have recordings was checked before the run.
        pass
    return np.zeros(_SIZE, dtype=np.float32)


def _digest(recording: Path | None) -> str:
    """The digest of a recording's bytes; "" where there is none."""
    return file_digest(recording) if recording is not None and recording.is_file() else ""


class SpeakerSettings(MetricSettings):
    """How near the voice of speech is to a reference voice."""

    name: Literal["speaker_similarity"]
    voice: FilePath | None = None
    """A recording of the reference voice; `null` takes the dataset's recording of each item's
    caption, which prompts are cut from."""

    def metric(self) -> SpeakerSimilarity:
        return SpeakerSimilarity(self.voice)


@lru_cache(maxsize=2)
def _network(weights: Path, device: str) -> Any:
    """The LSTM and its output layer on a device: mel spectrograms `[B, 160, 40]` to `[B, 256]`."""
    import torch

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = torch.nn.LSTM(_MELS, _SIZE, 3, batch_first=True)
            self.linear = torch.nn.Linear(_SIZE, _SIZE)

        def forward(self, mels: "torch.Tensor") -> "torch.Tensor":
            _, (hidden, _) = self.lstm(mels)
            return torch.nn.functional.normalize(torch.relu(self.linear(hidden[-1])), dim=1)

    held = torch.load(weights, map_location="cpu", weights_only=True)["model_state"]
    network = Network()
    # The rest are the scale and offset of the loss that it was trained with.
    network.load_state_dict({name: held[name] for name in network.state_dict()})
    return network.eval().to(device)


def _embedding(network: Any, wave: Wave) -> Vectors:
    """The voice of a clip `[T]` at 16 kHz, `[256]`, as Resemblyzer's `embed_utterance` gives it
    after `preprocess_wav`; zeros where there is none."""
    import torch

    voiced = _voiced(_raised(wave))
    if not voiced.size:
        return np.zeros(_SIZE, dtype=np.float32)
    starts = _starts(len(voiced))
    padded = np.pad(voiced, (0, max(0, (starts[-1] + _WINDOW) * _HOP - len(voiced))))
    mels = mel_power(padded, size=_FRAME, hop=_HOP, mels=_MELS).astype(np.float32)
    windows = np.stack([mels[start : start + _WINDOW] for start in starts])
    with torch.inference_mode():
        device = next(network.parameters()).device
        # A window at a time: of other shapes, products may round otherwise.
        each = [network(torch.from_numpy(one[None]).to(device))[0].cpu() for one in windows]
    mean = torch.stack(each).mean(0).numpy()
    embedding: Vectors = (mean / max(float(np.linalg.norm(mean)), 1e-9)).astype(np.float32)
    return embedding


def _raised(wave: Wave) -> Wave:
    """A clip whose level is at least _LEVEL; silence stays silent."""
    level = max(float(np.sqrt(np.mean(wave.astype(np.float64) ** 2))), 1e-9)
    raised: Wave = (wave * max(1.0, 10 ** (_LEVEL / 20) / level)).astype(np.float32)
    return raised


def _voiced(wave: Wave) -> Wave:
    """A clip without its long silences, by WebRTC's detector; nothing where it hears no voice."""
    import webrtcvad

    windows = wave[: len(wave) - len(wave) % _VAD_SAMPLES].reshape(-1, _VAD_SAMPLES)
    if not len(windows):
        return wave[:0]
    pcm = np.clip(np.round(windows * 32_767), -32_768, 32_767).astype(np.int16)
    detector = webrtcvad.Vad(3)
    flags = np.array([detector.is_speech(each.tobytes(), RATE) for each in pcm], dtype=float)
    around = np.pad(flags, ((_SMOOTHED - 1) // 2, _SMOOTHED // 2))
    smooth = np.convolve(around, np.ones(_SMOOTHED) / _SMOOTHED, "valid")
    near = np.pad(np.round(smooth), _LONGEST_SILENCE // 2)
    is_voiced = np.convolve(near, np.ones(_LONGEST_SILENCE + 1), "valid") > 0
    voiced: Wave = windows[is_voiced].reshape(-1)
    return voiced


def _starts(samples: int) -> list[int]:
    """The first frames of the windows of a clip; the last one is left out where the sound covers
    too little of it."""
    frames = -(-(samples + 1) // _HOP)
    starts = list(range(0, max(1, frames - _WINDOW + _STEP + 1), _STEP))
    covered = (samples - starts[-1] * _HOP) / (_WINDOW * _HOP)
    return starts[:-1] if covered < _LEAST_COVERED and len(starts) > 1 else starts
