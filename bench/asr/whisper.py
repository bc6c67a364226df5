"""openai-whisper as the transcriber: greedy, without fallback, one clip's text for one clip."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bench.asr.base import SAMPLE_RATE, Facts, Transcriber, Transcription
from bench.asr.packaged_whisper import PACKAGED, TINY_EN, is_packaged, offline_advice
from bench.asr.weights import WeightsAsr
from bench.asr.window import WHOLE, doubtful, grouped
from bench.common.audio import Wave
from bench.common.errors import UserError
from bench.common.kept import cache_folder
from bench.common.lock import locked
from bench.common.yamlfile import WeightsName

if TYPE_CHECKING:
    from torch import Tensor
    from whisper import DecodingResult

Window = Literal[30, "adaptive"]
WINDOWING = 2
"""What `adaptive` means; counted up when that gives other transcripts."""
DOWNLOAD_SECONDS = 3600.0
"""How long an actor waits for another one of its machine that downloads a model."""


class WhisperAsr(WeightsAsr):
    """OpenAI's Whisper by its own package; greedy unless a beam is asked for."""

    backend: Literal["openai-whisper"] = "openai-whisper"
    model: WeightsName = TINY_EN.name
    window: Window = 30
    """Seconds of sound that the encoder computes: 30, as Whisper was trained, or `adaptive`, the
    speech and a second after it, and of the silence then two positions a second; 30 for what looks
    wrong then. results/perf says how much faster that is, and how many clips have other words."""

    def facts(self) -> dict[str, Any]:
        """See Asr. The window is left out where it is Whisper's own."""
        shorter = {"window": self.window, "windowing": WINDOWING}
        return super().facts() | ({} if self.window == WHOLE else shorter)

    def signed(self, facts: Facts) -> str:
        """See WeightsAsr."""
        return super().signed(facts) + (
            "" if self.window == WHOLE else f".{self.window}{WINDOWING}"
        )

    def described(self) -> list[str]:
        """See WeightsAsr."""
        return [*super().described(), *([] if self.window == WHOLE else [f"{self.window} window"])]

    def find(self) -> Path:
        """See WeightsAsr."""
        return _checkpoint(self.model)

    def digest(self) -> str:
        """See WeightsAsr."""
        if is_packaged(self.model):
            return PACKAGED[self.model].verified_digest()
        return super().digest()

    def transcriber(self, device: str, threads: int) -> Transcriber:
        """See Asr."""
        return WhisperTranscriber(self, device)


def _checkpoint(name: str) -> Path:
    """The checkpoint file of a model name or path.

    `tiny.en` comes from its pinned package, as does `base` where its extra is installed;
    openai-whisper downloads any other name.
    """
    if is_packaged(name):
        return PACKAGED[name].checkpoint()
    path = Path(name).expanduser()
    if path.is_file():
        return path
    import whisper

    if name not in whisper.available_models():
        raise UserError(
            f"asr.model: {name!r} is neither a file nor a Whisper model; "
            f"choose one of {', '.join(whisper.available_models())}"
        )
    root = cache_folder()
    waiting = root / "whisper-downloads"
    try:
        # It writes to the file's own name, which others on this machine would read meanwhile.
        with locked(waiting, DOWNLOAD_SECONDS):
            try:
                whisper._download(whisper._MODELS[name], str(root), False)
            finally:
                waiting.rmdir()
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"asr.model: {name!r} could not be downloaded ({error}); {offline_advice(name, 'file')}"
        ) from error
    return root / f"{name}.pt"


class WhisperTranscriber:
    """A Whisper model on one device."""

    def __init__(self, spec: WhisperAsr, device: str) -> None:
        half = spec.half(device)
        import whisper

        from bench.asr.shortwindow import ShortWindow

        # openai-whisper's own loader unpickles with weights_only and takes a file.
        self.model = whisper.load_model(str(spec.locate()), device=device)
        self.adaptive, self.batch = spec.window != WHOLE, spec.batch
        self.short_window = ShortWindow(self.model)
        self.options = whisper.DecodingOptions(
            language="en",
            temperature=0.0,
            beam_size=spec.beam_size,
            without_timestamps=True,
            fp16=half,
        )

    def transcribe(self, waves: Sequence[Wave]) -> list[Transcription]:
        """See Transcriber."""
        if not waves:
            return []
        from pixvox.precision import precision

        with precision("float16" if self.options.fp16 else "float32"):
            results = self._adaptively(waves) if self.adaptive else self._decode(self._mels(waves))
        return [
            Transcription(r.text, r.no_speech_prob, r.avg_logprob, r.compression_ratio)
            for r in results
        ]

    def _adaptively(self, waves: Sequence[Wave]) -> "list[DecodingResult]":
        found: dict[int, DecodingResult] = {}
        for seconds, numbers in grouped([len(wave) for wave in waves]).items():
            found |= self._within(seconds, waves, numbers)
        length = self.model.dims.n_text_ctx // 2
        again = [n for n, result in sorted(found.items()) if doubtful(result, length)]
        found |= self._within(WHOLE, waves, again)
        return [found[number] for number in range(len(waves))]

    def _within(
        self, seconds: int, waves: Sequence[Wave], numbers: Sequence[int]
    ) -> "dict[int, DecodingResult]":
        """What is transcribed of some clips within so many seconds.

        Each is encoded alone, and decoded in a batch that is filled up, so that rounding does not
        depend on which others needed the same window.
        """
        import torch

        found: dict[int, DecodingResult] = {}
        for start in range(0, len(numbers), self.batch):
            some = numbers[start : start + self.batch]
            mels = self._mels([waves[number] for number in some], seconds)
            states = torch.cat([self.short_window(mel, seconds) for mel in mels])
            filled = [*range(len(some)), *[0] * (self.batch - len(some))]
            found |= dict(zip(some, self._decode(states[filled]), strict=False))
        return found

    def _mels(self, waves: Sequence[Wave], seconds: int = WHOLE) -> "Tensor":
        """Spectrograms `[B, mels, 100 * seconds]`.

        Whisper clamps a spectrogram to its batch's maximum: taken a clip at a time, a transcript
        does not depend on its neighbours.
        """
        import torch
        import whisper

        mels = [
            whisper.log_mel_spectrogram(
                whisper.pad_or_trim(wave, seconds * SAMPLE_RATE),
                self.model.dims.n_mels,
                device=self.model.device,
            )
            for wave in waves
        ]
        batch = torch.stack(mels)
        return batch.half() if self.options.fp16 else batch

    def _decode(self, audio: "Tensor") -> "list[DecodingResult]":
        """Spectrograms, or states of them, as text."""
        import torch
        import whisper

        from bench.asr.whisperloop import POLL, decode_greedily

        with torch.inference_mode():
            if not self.options.beam_size:
                poll = POLL if self.model.device.type == "cuda" else 1
                return decode_greedily(self.model, audio, self.options, poll=poll)
            # openai-whisper repeats tokens for beams, but not what they are of: it takes one clip.
            return [
                r for clip in audio.split(1) for r in whisper.decode(self.model, clip, self.options)
            ]
