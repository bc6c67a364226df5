"""`pixvox speak`: writes a WAV file for each picture."""

from argparse import ArgumentTypeError, Namespace
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from bench.commands.options import Parser, each, number, path, weights, whole
from bench.common.atomic import disk_errors
from bench.common.audio import SpeechError, read_speech, write_wav
from bench.common.errors import RunFailed, UserError, bad_input
from bench.systems.axes import Axis
from bench.systems.decoding import AXES, DecodingSpec
from pixvox.configfile import pixvox_config
from pixvox.images import ImageError, load_pixels
from pixvox.pipeline import ImageToSpeech, load, name_of
from pixvox.weights import resolve

_AT_ONCE = 32
_DEFAULTS = {"temperature": 0.5}
"""Defaults that differ from those of a job, which has to be reproducible."""


def add_arguments(parser: Parser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("images", type=path, nargs="+", metavar="IMAGE")
    parser.add_argument("-o", "--out", type=path, required=True, help="the folder for WAV files")
    parser.add_argument(
        "--weights",
        type=weights,
        default="zoo:pixvox-tiny-delay",
        help="a folder, zoo:NAME or a hub id (%(default)s)",
    )
    parser.add_argument("--prompt", type=path, help="a WAV file; its start begins each speech")
    for axis in AXES:
        parser.add_argument(
            f"--{axis.name.replace('_', '-')}",
            type=_reader(axis),
            default=_DEFAULTS.get(axis.name, DecodingSpec.model_fields[axis.name].default),
            help=f"{axis.meaning[0].lower()}{axis.meaning[1:-1]} (%(default)s)",
        )
    parser.add_argument(
        "--max-seconds",
        type=number(0.1, 30),
        default=6.0,
        help="the longest speech, its prompt included (%(default)s)",
    )


def _reader(axis: Axis) -> Callable[[str], Any]:
    """Returns a type for a value of an axis, or a list with commas, within a job's bounds."""
    adapter: TypeAdapter[Any] = TypeAdapter(axis.type)
    schema = adapter.json_schema()
    branches = schema.get("anyOf", [schema])
    single = next(branch for branch in branches if branch["type"] != "array")
    low = single.get("minimum", single.get("exclusiveMinimum", 0))
    high = single.get("maximum", single.get("exclusiveMaximum", 100))
    read = whole(low, high) if single["type"] == "integer" else number(low, high)
    several = each(read) if len(branches) > 1 else read

    def value(text: str) -> Any:
        given = several(text)
        try:
            valid = adapter.validate_python(given)
        except ValidationError as error:
            reason = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise ArgumentTypeError(f"{text!r}: {reason}") from error
        return list(valid) if isinstance(valid, tuple) else valid

    return value


def run(args: Namespace) -> int:
    """Generates the speech."""
    how = {name: getattr(args, name) for name in (*(axis.name for axis in AXES), "max_seconds")}
    options = SpeakOptions(
        images=args.images, out=args.out, weights=args.weights, prompt=args.prompt, how=how
    )
    return speak(options)


@dataclass(frozen=True, kw_only=True)
class SpeakOptions:
    """What to generate; `how` is as in ImageToSpeech.speak."""

    images: Sequence[Path]
    out: Path
    weights: str
    prompt: Path | None
    how: Mapping[str, Any]


def _check(options: SpeakOptions) -> None:
    """Raises UserError for a picture that cannot be used, before any speech is generated."""
    twice = [name for name, times in Counter(map(name_of, options.images)).items() if times > 1]
    if twice:
        same = " and ".join(str(image) for image in options.images if name_of(image) == twice[0])
        raise UserError(f"{same} would both be {twice[0]}.wav; rename one of them")
    with bad_input():
        scaling = pixvox_config(resolve(options.weights)).scaling
    for image in options.images:
        try:
            load_pixels(image, scaling.size)
        except ImageError as error:
            where = str(image.parent / str(error)) if image.parent != Path() else str(error)
            raise UserError(f"{where}; fix it or leave it out, nothing was generated") from error


def _prompt(options: SpeakOptions, model: ImageToSpeech) -> Any:
    if options.prompt is None:
        return None
    try:
        return read_speech(options.prompt, model.processor.sample_rate)
    except SpeechError as error:
        raise UserError(f"{options.prompt.parent / str(error)}; give another prompt") from error


def speak(options: SpeakOptions) -> int:
    """Writes `out/NAME.wav` for each picture, as soon as its batch is generated.

    Raises UserError for invalid input, and RunFailed at the end if the model generated nothing for
    a picture.
    """
    _check(options)
    with bad_input():
        model = load(options.weights)
    prompt = _prompt(options, model)
    empty: list[Path] = []
    for start in range(0, len(options.images), _AT_ONCE):
        images = options.images[start : start + _AT_ONCE]
        try:
            speeches = model.speak_all(images, prompt, **options.how)
        except ValueError as error:
            raise UserError(" ".join(str(error).split())) from error
        for image, speech in zip(images, speeches, strict=True):
            if not speech.wave.size:
                empty.append(image)
                continue
            path = options.out / f"{name_of(image)}.wav"
            with disk_errors(path):
                write_wav(path, speech.wave, speech.rate)
            cut = "" if speech.ended else ", cut off at --max-seconds"
            print(f"{path}: {speech.seconds:.2f} s of {image}{cut}", flush=True)
    if empty:
        names = ", ".join(map(str, empty[:5]))
        raise RunFailed(f"{names}: the model generated nothing; try another --seed")
    return 0
