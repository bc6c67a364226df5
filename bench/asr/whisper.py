"""openai-whisper as the transcriber: greedy, without fallback, one clip's text for one clip."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bench.asr.base import SAMPLE_RATE, USUAL_BATCH, Facts, Transcriber, Transcription
from bench.asr.packaged_whisper import PACKAGED, TINY_EN, is_packaged, offline_advice
from bench.asr.weights import WeightsAsr
from bench.asr.window import WHOLE, doubtful, window_of
from bench.common.audio import Wave
from bench.common.cachefiles import cache_folder
from bench.common.errors import UserError
from bench.common.lock import locked
from bench.common.yamlfile import WeightsName

if TYPE_CHECKING:
    from torch import Tensor
    from whisper import DecodingResult, ModelDimensions

Window = Literal[30, "adaptive"]
WINDOWING = 2
"""The version of `adaptive`, raised when it gives other transcripts."""
MOST_ON_GPU = 64
"""Clips that a GPU transcribes at once at most: a step of the decoder reads its weights for all."""
_PART_OF_MEMORY = 8
"""A batch takes at most 1 / 8 of the memory of a GPU, which several actors may share."""
_WIDTHS_WHILE_ENCODING = 16
"""Numbers that an encoder's position holds at most, in widths of the model (estimated)."""
DOWNLOAD_SECONDS = 3600.0
"""Seconds that an actor waits while another one of its machine downloads the model."""


class WhisperAsr(WeightsAsr):
    """OpenAI's Whisper in its own package; greedy unless a beam size is given."""

    backend: Literal["openai-whisper"] = "openai-whisper"
    model: WeightsName = TINY_EN.name
    window: Window = 30
    """Seconds of sound that the encoder computes: 30, as Whisper was trained, or `adaptive`: the
    speech, a second after it, and two positions a second of the silence that follows. A clip whose
    transcript looks wrong is transcribed again with 30. results/perf has the gain in speed and the
    number of clips with other words."""

    def facts(self) -> dict[str, Any]:
        """Returns the facts of the model; a window other than Whisper's own is added."""
        shorter = {"window": self.window, "windowing": WINDOWING}
        return super().facts() | ({} if self.window == WHOLE else shorter)

    def signature_part(self, facts: Facts) -> str:
        return super().signature_part(facts) + (
            "" if self.window == WHOLE else f".{self.window}{WINDOWING}"
        )

    def described(self) -> list[str]:
        return [*super().described(), *([] if self.window == WHOLE else [f"{self.window} window"])]

    def find(self) -> Path:
        return _checkpoint(self.model)

    def digest(self) -> str:
        if is_packaged(self.model):
            return PACKAGED[self.model].verified_digest()
        return super().digest()

    def batch_of(self, transcriber: Transcriber) -> int:
        assert isinstance(transcriber, WhisperTranscriber)
        return transcriber.batch

    def most_at_once(self, *, on_gpu: bool) -> int:
        return self.batch or (MOST_ON_GPU if on_gpu else USUAL_BATCH)

    def transcriber(self, device: str, threads: int) -> Transcriber:
        return WhisperTranscriber(self, device)


def _checkpoint(name: str) -> Path:
    """Returns the checkpoint file of a model's name or path.

    `tiny.en` comes from its pinned package, as does `base` where its extra is installed;
    openai-whisper downloads any other name. Raises UserError where there is no such model.
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
        # whisper writes to the final file, which other processes would read before it is complete.
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


def batch_within(dims: "ModelDimensions", memory: int) -> int:
    """Returns how many clips a GPU with this memory in bytes transcribes at once: 8, 16, 32 or 64.

    A clip holds keys and values of its encoder's states in every layer of the decoder, in float32.
    The batch depends on the model and the GPU only, and not on what is free: rounding depends on
    it, and a transcript must not depend on how many actors share the GPU.
    """
    widths = 2 * dims.n_text_layer + _WIDTHS_WHILE_ENCODING
    clip = 4 * dims.n_audio_ctx * dims.n_audio_state * widths
    batch = USUAL_BATCH
    while batch < MOST_ON_GPU and 2 * batch * clip <= memory // _PART_OF_MEMORY:
        batch *= 2
    return batch


class WhisperTranscriber:
    """A Whisper model on one device, which transcribes `batch` clips at once."""

    def __init__(self, spec: WhisperAsr, device: str) -> None:
        half = spec.half(device)
        import whisper

        from bench.asr.shortwindow import ShortWindow
        from bench.asr.whisperstep import StepOnCpu

        # openai-whisper's loader unpickles with weights_only.
        self.model = whisper.load_model(str(spec.locate()), device=device)
        self.adaptive = spec.window != WHOLE
        self.batch = spec.batch or self._usual_batch()
        self.short_window = ShortWindow(self.model)
        self.options = whisper.DecodingOptions(
            language="en",
            temperature=0.0,
            beam_size=spec.beam_size,
            without_timestamps=True,
            fp16=half,
        )
        is_cpu = self.model.device.type == "cpu"
        self.step = StepOnCpu(self.model, batch=self.batch) if is_cpu else None

    def _usual_batch(self) -> int:
        import torch

        if self.model.device.type != "cuda":
            return USUAL_BATCH
        memory = torch.cuda.get_device_properties(self.model.device).total_memory
        return batch_within(self.model.dims, memory)

    def transcribe(self, waves: Sequence[Wave]) -> list[Transcription]:
        from pixvox.precision import precision

        results: list[DecodingResult] = []
        with precision("float16" if self.options.fp16 else "float32"):
            for start in range(0, len(waves), self.batch):
                group = waves[start : start + self.batch]
                results += self._adaptively(group) if self.adaptive else self._in_whole(group)
        return [
            Transcription(r.text, r.no_speech_prob, r.avg_logprob, r.compression_ratio)
            for r in results
        ]

    def _adaptively(self, waves: Sequence[Wave]) -> "list[DecodingResult]":
        """Transcribes each clip in its own window, and doubtful ones again in the whole window."""
        results = self._in_windows(waves, [window_of(len(wave)) for wave in waves])
        length = self.model.dims.n_text_ctx // 2
        again = [n for n, result in enumerate(results) if doubtful(result, length)]
        if again:
            repeated = self._in_windows([waves[n] for n in again], [WHOLE] * len(again))
            for number, result in zip(again, repeated, strict=True):
                results[number] = result
        return results

    def _in_windows(self, waves: Sequence[Wave], windows: Sequence[int]) -> "list[DecodingResult]":
        """Transcribes each clip in a window of as many seconds as `windows` has for it.

        Each is encoded alone. States have the same shape in all windows, so all are decoded
        together.
        """
        import torch

        return self._decode(
            torch.cat(
                [
                    self.short_window(self._mels([wave], seconds)[0], seconds)
                    for wave, seconds in zip(waves, windows, strict=True)
                ]
            )
        )

    def _in_whole(self, waves: Sequence[Wave]) -> "list[DecodingResult]":
        """Transcribes clips in the whole window, in which they are encoded as one batch."""
        import torch

        if self.options.beam_size:
            return self._in_windows(waves, [WHOLE] * len(waves))
        with torch.inference_mode():
            states = self.model.encoder(self._filled_up(self._mels(waves)))
        return self._decode(states[: len(waves)])

    def _mels(self, waves: Sequence[Wave], seconds: int = WHOLE) -> "Tensor":
        """Returns spectrograms `[B, mels, 100 * seconds]`.

        They are computed a clip at a time, because Whisper clips values relative to the maximum of
        a batch.
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

    def _decode(self, states: "Tensor") -> "list[DecodingResult]":
        """Returns the transcripts of at most `batch` clips from their states `[B, 1500, D]`."""
        import torch
        import whisper

        from bench.asr.whisperloop import POLL, greedy_task

        with torch.inference_mode():
            if self.options.beam_size:
                # openai-whisper repeats tokens for beams, but not what they are of: it takes one
                # clip.
                return [
                    result
                    for clip in states.split(1)
                    for result in whisper.decode(self.model, clip, self.options)
                ]
            if self.step:
                return greedy_task(self.model, self.options, inference=self.step).run(states)
            filled = self._filled_up(states)
            return greedy_task(self.model, self.options, poll=POLL).run(filled)[: len(states)]

    def _filled_up(self, clips: "Tensor") -> "Tensor":
        """Returns `[B, …]` with `batch` clips: rounding depends on how many there are."""
        return clips[[*range(len(clips)), *[0] * (self.batch - len(clips))]]
