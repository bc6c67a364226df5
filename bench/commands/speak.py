"""`pixvox speak`: pictures in, one WAV file each out."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.common.atomic import disk_errors
from bench.common.audio import SpeechError, read_speech, write_wav
from bench.common.errors import RunFailed, UserError, bad_input
from pixvox.configfile import pixvox_config
from pixvox.images import ImageError, load_pixels
from pixvox.pipeline import ImageToSpeech, load, name_of
from pixvox.weights import resolve

_AT_ONCE = 32


@dataclass(frozen=True)
class Plan:
    """What to generate; `how` is as in ImageToSpeech.speak."""

    images: Sequence[Path]
    out: Path
    weights: str
    prompt: Path | None
    how: Mapping[str, Any]


def _check(plan: Plan) -> None:
    """Raises UserError for a picture that cannot be used, before any speech is generated."""
    twice = [name for name, times in Counter(map(name_of, plan.images)).items() if times > 1]
    if twice:
        same = " and ".join(str(image) for image in plan.images if name_of(image) == twice[0])
        raise UserError(f"{same} would both be {twice[0]}.wav; rename one of them")
    with bad_input():
        config: Any = pixvox_config(resolve(plan.weights))
    for image in plan.images:
        try:
            load_pixels(image, config.vision_config.image_size)
        except ImageError as error:
            where = str(image.parent / str(error)) if image.parent != Path() else str(error)
            raise UserError(f"{where}; fix it or leave it out, nothing was generated") from error


def _prompt(plan: Plan, model: ImageToSpeech) -> Any:
    if plan.prompt is None:
        return None
    try:
        return read_speech(plan.prompt, model.processor.sample_rate)
    except SpeechError as error:
        raise UserError(f"{plan.prompt.parent / str(error)}; give another prompt") from error


def speak(plan: Plan) -> int:
    """Writes `out/NAME.wav` for each picture, each as soon as its batch is generated.

    Raises UserError for input that cannot be used, and RunFailed at the end where the model
    generated nothing for a picture.
    """
    _check(plan)
    with bad_input():
        model = load(plan.weights)
    prompt = _prompt(plan, model)
    empty: list[Path] = []
    for start in range(0, len(plan.images), _AT_ONCE):
        images = plan.images[start : start + _AT_ONCE]
        try:
            speeches = model.speak_all(images, prompt, **plan.how)
        except ValueError as error:
            raise UserError(" ".join(str(error).split())) from error
        for image, speech in zip(images, speeches, strict=True):
            if not speech.wave.size:
                empty.append(image)
                continue
            path = plan.out / f"{name_of(image)}.wav"
            with disk_errors(path):
                write_wav(path, speech.wave, speech.rate)
            cut = "" if speech.ended else ", cut off at --max-seconds"
            print(f"{path}: {speech.seconds:.2f} s of {image}{cut}", flush=True)
    if empty:
        names = ", ".join(map(str, empty[:5]))
        raise RunFailed(f"{names}: the model generated nothing; try another --seed")
    return 0
