"""`pixvox perf transcribe`: Whisper's speed and its bound, and the effect of a shorter window.

It runs on one thread, like a transcriber. Both windows transcribe the same clips in turn, so that a
disturbance affects both.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.asr.base import SAMPLE_RATE, Transcription
from bench.asr.whisper import WhisperAsr, WhisperTranscriber
from bench.asr.window import SHORTER, WHOLE
from bench.common.audio import Wave, resample
from bench.common.machine import machine
from bench.common.machine import save as save_figures
from bench.common.progress import Progress, progress
from bench.common.resampling import Resampling
from bench.datasets.base import Item
from bench.datasets.scenes.load import load_scenes
from bench.jobs.spec import ScoringSpec
from bench.metrics.base import SHORT
from bench.scoring.inference import intervals
from bench.scoring.scorer import Scorer
from bench.store.rows import ToTranscribe
from bench.systems.base import System, Variant
from bench.systems.decoding import DecodingSpec
from bench.systems.pixvox import PixVoxSystem
from bench.systems.recorded import RecordedSystem
from bench.systems.voice import Voice

if TYPE_CHECKING:
    from whisper.model import ModelDimensions

SEED = 0
_SIZE = 1024
"""Rows and columns of the matrix products that measure the machine's speed."""


@dataclass(frozen=True)
class Window:
    """Whisper with one window on one kind of speech; seconds are medians over the rounds."""

    window: str
    seconds_per_clip: float
    encoder_share: float
    scores: dict[str, tuple[float, float, float]]


@dataclass(frozen=True, kw_only=True)
class Speech:
    """Results for one kind of speech, by Whisper's whole window of 30 s and the adaptive one, and
    how the transcripts differ.

    `differing` is the share of clips with other words, without case and punctuation, as metrics
    compare them; `written` the share with any other character; and `again` the share that was
    transcribed a second time with the whole window.
    """

    name: str
    clips: int
    mean_seconds: float
    whole: Window
    adaptive: Window
    differing: float
    written: float
    again: float

    @property
    def faster(self) -> float:
        """How many times as many clips a second the adaptive window transcribes."""
        return self.whole.seconds_per_clip / self.adaptive.seconds_per_clip


def product_speed() -> float:
    """Returns FLOP a second of a float32 product on this thread; best of 7."""
    import torch

    a, b = torch.randn(2, _SIZE, _SIZE).unbind()
    best = float("inf")
    for _ in range(7):
        start = time.perf_counter()
        torch.mm(a, b)
        best = min(best, time.perf_counter() - start)
    return 2 * float(_SIZE) ** 3 / best


def encoder_flops(dims: "ModelDimensions", seconds: int) -> float:
    """Returns the FLOP of Whisper's encoder: its products, convolutions and attention.

    The first `seconds` of a window of 30 s are computed, and two positions a second after them.
    """
    positions, width = seconds * 50 + (WHOLE - seconds) * 2, dims.n_audio_state
    layer = 24 * positions * width**2 + 4 * positions * dims.n_audio_ctx * width
    convolutions = 2 * 3 * positions * width * (2 * dims.n_mels + width)
    return float(dims.n_audio_layer * layer + convolutions)


def keys_flops(dims: "ModelDimensions", seconds: int) -> float:
    """Returns the FLOP of the decoder's keys and values for a window, before any token."""
    return float(dims.n_text_layer * 2 * 2 * seconds * 50 * dims.n_text_state**2)


class _Timed:
    """A transcriber whose encoder is timed."""

    def __init__(self, spec: WhisperAsr) -> None:
        self.asr = WhisperTranscriber(spec, "cpu")
        self.batch, self.adaptive = self.asr.batch, self.asr.adaptive
        self.encoding, self.windows = 0.0, 0
        self._inside = False
        self.asr.model.encoder.forward = self._timed(self.asr.model.encoder.forward)
        self.asr.short_window = self._timed(self.asr.short_window)

    def _timed(self, encode: Callable[..., Any]) -> Any:
        def timed(mel: Any, *seconds: int) -> Any:
            if self._inside:
                return encode(mel, *seconds)
            self._inside, start = True, time.perf_counter()
            states = encode(mel, *seconds)
            self._inside = False
            self.encoding += time.perf_counter() - start
            self.windows += len(states)
            return states

        return timed

    def all_of(self, waves: Sequence[Wave], tick: Callable[[int], None]) -> list[Transcription]:
        """Transcribes in whole batches, like a run."""
        transcriptions: list[Transcription] = []
        for start in range(0, len(waves), self.batch):
            group = waves[start : start + self.batch]
            transcriptions += self.asr.transcribe(group)
            tick(len(group))
        return transcriptions


def _waves(system: System, items: Sequence[Item]) -> dict[str, Wave]:
    """Returns a system's speech at Whisper's rate, by item; items without speech are left out."""
    variant = Variant("speech", 0.0, system)
    by_id = {item.id: item for item in items}
    voice, waves = Voice(), {}
    for _, row in system.generator("cpu").generate([(item, (variant,)) for item in items]):
        if row.status == "ok":
            wave, rate = voice.speech(system, ToTranscribe(row=row, item=by_id[row.item]))
            waves[row.item] = resample(wave, rate, SAMPLE_RATE)
    return waves


def _systems(weights: Sequence[str]) -> dict[str, System]:
    return {"recorded": RecordedSystem(kind="recorded")} | {
        Path(name.removeprefix("zoo:")).name: PixVoxSystem(
            kind="pixvox", label="speech", weights=name, decoding=_decoding(name)
        )
        for name in weights
    }


def _decoding(name: str) -> DecodingSpec:
    """Returns the decoding of the zoo's models in Table I: clear speech that ends."""
    from pixvox.configuration import PixVoxConfig
    from pixvox.weights import resolve

    config = PixVoxConfig.from_pretrained(resolve(name))
    guidance = 2.0 if config.null_image else 1.0
    if config.pattern == "delay":
        return DecodingSpec(guidance=guidance)
    temperature = (0.3, *[1.0] * (config.num_codebooks - 1))
    return DecodingSpec(temperature=temperature, guidance=guidance, seed=SEED)


def measure(weights: Sequence[str], images: int, rounds: int, report: Progress) -> dict[str, Any]:
    """Transcribes recorded and generated speech of the first test pictures in both windows."""
    import torch

    torch.set_num_threads(1)
    dataset = load_scenes()
    items = dataset.items[:images]
    dataset = replace(dataset, items=items)
    speed = product_speed()
    timed = {"30 s": _Timed(WhisperAsr()), "adaptive": _Timed(WhisperAsr(window="adaptive"))}
    speeches = []
    with tempfile.TemporaryDirectory() as cache:
        scorer = Scorer(dataset, ScoringSpec(), {}, Path(cache))
        with scorer:
            for name, system in _systems(weights).items():
                waves = _waves(system, items)
                speeches.append(_speech(name, waves, timed, rounds, scorer=scorer, report=report))
    dims = timed["30 s"].asr.model.dims
    return {
        "product_gflops": speed / 1e9,
        "floor_seconds": encoder_flops(dims, WHOLE) / speed,
        "shortest_floor_seconds": encoder_flops(dims, SHORTER[0]) / speed,
        "keys_floor_seconds": keys_flops(dims, WHOLE) / speed,
        "rounds": rounds,
        "speech": [asdict(speech) | {"faster": speech.faster} for speech in speeches],
    }


def _speech(
    name: str,
    waves: Mapping[str, Wave],
    timed: Mapping[str, _Timed],
    rounds: int,
    *,
    scorer: Scorer,
    report: Progress,
) -> Speech:
    clips, texts = list(waves.values()), dict[str, list[str]]()
    timings: dict[str, list[tuple[float, float, int]]] = {window: [] for window in timed}
    done, total = 0, rounds * len(timed) * len(clips)

    def tick(count: int) -> None:
        nonlocal done
        done += count
        report(name, done, total)

    for _ in range(rounds):
        for window, asr in timed.items():
            asr.encoding, asr.windows = 0.0, 0
            start = time.perf_counter()
            texts[window] = [result.transcript for result in asr.all_of(clips, tick)]
            timings[window].append((time.perf_counter() - start, asr.encoding, asr.windows))
    windows, tokens = {}, {window: scorer.tokens(said) for window, said in texts.items()}
    for window, runs in timings.items():
        counted = scorer.counted(
            dict.fromkeys(scorer.captions, "") | dict(zip(waves, tokens[window], strict=True))
        )
        spread = intervals(counted, Resampling())
        windows[window] = Window(
            window,
            statistics.median(seconds for seconds, _, _ in runs) / len(clips),
            statistics.median(encoding / seconds for seconds, encoding, _ in runs),
            {
                score.name: (interval.score, interval.low, interval.high)
                for score in counted.scores
                if score.display_priority >= SHORT and (interval := spread[score.name])
            },
        )
    whole, adaptive = windows.values()
    filled = -(-len(clips) // timed["adaptive"].batch) * timed["adaptive"].batch
    return Speech(
        name=name,
        clips=len(clips),
        mean_seconds=sum(map(len, clips)) / len(clips) / SAMPLE_RATE,
        whole=whole,
        adaptive=adaptive,
        differing=_share_differing(*tokens.values()),
        written=_share_differing(*texts.values()),
        again=timings["adaptive"][0][2] / filled - 1,
    )


def _share_differing(texts: Sequence[str], compared: Sequence[str]) -> float:
    return sum(a != b for a, b in zip(texts, compared, strict=True)) / len(texts)


def run(weights: Sequence[str], images: int, rounds: int, save: Path | None) -> int:
    """Measures, prints a table of ratios, and saves the figures on request."""
    import torch

    with progress() as report:
        figures = measure(weights, images, rounds, report)
    floor = figures["floor_seconds"]
    print(f"one thread multiplies {figures['product_gflops']:.1f} GFLOP/s, so that encoding")
    shortest = figures["shortest_floor_seconds"]
    print(f"30 s takes {floor:.3f} s at least, and {SHORTER[0]} of them {shortest:.3f} s;")
    print(f"its keys and values, part of decoding, take {figures['keys_floor_seconds']:.3f} s")
    for speech in figures["speech"]:
        whole, shorter = speech["whole"], speech["adaptive"]
        share = whole["encoder_share"]
        encoding = whole["seconds_per_clip"] * share
        print(f"{speech['name']}: {speech['clips']} clips of {speech['mean_seconds']:.1f} s")
        print(
            f"  30 s window: {whole['seconds_per_clip']:.3f} s a clip; the encoder is at "
            f"{floor / encoding:.0%} of the floor, decoding takes {1 / share - 1:.0%} of its time"
        )
        print(
            f"  adaptive: {shorter['seconds_per_clip']:.3f} s a clip, {speech['faster']:.2f} times "
            f"as fast; {speech['differing']:.1%} have other words, {speech['again']:.1%} done "
            "again at 30 s"
        )
        for score, (value, low, high) in whole["scores"].items():
            changed = shorter["scores"][score][0]
            print(f"  {score}: {value:.1f} [{low:.1f}, {high:.1f}], adaptive {changed:.1f}")
    save_figures(figures | {"machine": asdict(machine(torch.device("cpu")))}, save)
    return 0
