"""`pixvox narrate`: reads the captions of a dataset aloud, into files that a dataset reads."""

from argparse import BooleanOptionalAction, Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.commands.arguments import add_address
from bench.commands.options import Parser, name, number, path, weights, whole
from bench.common.atomic import disk_errors
from bench.common.errors import RunFailed, bad_input
from bench.common.interrupt import stoppable
from bench.common.lock import locked
from bench.common.progress import duration, progress
from bench.common.text import clean, plural
from bench.datasets.narrated import Narration
from bench.execution.cluster import refuse_submitted
from bench.execution.stages import Stage
from bench.narration.folder import Folder
from bench.narration.job import NarrationJob, read_job
from bench.narration.plan import NarrationPlan, left_out_line, plan_narration
from bench.narration.reading import Format, Narrator, Said, Workers, read_aloud
from bench.systems.spoken import VERSION
from bench.systems.voices import PIPER, voice_digest
from pixvox.codec.facts import codec_facts


def add_arguments(parser: Parser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("job", type=path, help="a file such as jobs/flickr8k/narrate.yaml")
    parser.add_argument("--splits", type=name, nargs="+", metavar="SPLIT", help="train, val, ...")
    parser.add_argument("--voice", type=weights, help="piper:joe, a folder or a hub id")
    parser.add_argument("--captions", type=whole(1, 1000), help="the first N of each image")
    parser.add_argument("--items", type=path, help="a file of ids or image names: only these")
    parser.add_argument("--codec", type=weights, help="write the units of this codec, too")
    parser.add_argument("--bandwidth", type=number(0.1, 100), help="that codec's, in kbps")
    parser.add_argument(
        "--sound", action=BooleanOptionalAction, help="write the speech; without, units"
    )
    parser.add_argument("--layout", choices=("flickr", "manifest"), help="how speech is listed")
    parser.add_argument("--workers", type=whole(0, 1000), help="processes; 0 for one a core")
    add_address(parser)
    parser.add_argument("-o", "--output", type=path, help="the folder for speech and lists")


def run(args: Namespace) -> int:
    """Reads the missing captions aloud."""
    options = {
        "splits": args.splits,
        "voice": args.voice,
        "captions": args.captions,
        "codec": args.codec,
        "bandwidth": args.bandwidth,
        "sound": args.sound,
        "items": None if args.items is None else str(args.items),
        "layout": args.layout,
        "workers": args.workers,
        "address": args.address,
        "output": None if args.output is None else str(args.output),
    }
    return narrate(args.job, options)


def narrate(file: Path, options: Mapping[str, Any], narrator: type = Narrator) -> int:
    """Reads the captions aloud that a narration's folder lacks; returns 0 if all are complete.

    `options` are as in read_job. Captions that no voice can read are printed, counted and left out.
    Raises UserError for invalid input, RunFailed if processes died over captions.
    """
    job = read_job(file, options)
    refuse_submitted(job.output, "output")
    with bad_input():
        plan = plan_narration(job)
        narration = _narration(job, plan)
    with disk_errors(job.output), locked(job.output), stoppable() as stop:
        folder = Folder(job.output, sound=job.sound)
        missing = folder.prepare(narration, plan)
        _print_left_out(plan)
        if there := len(plan.utterances) - len(missing):
            print(f"{plural(there, 'caption')} of {len(plan.utterances)} are there already")
        workers = Workers(
            voice=job.voice,
            wanted=Format(job.sound, _codec(job)),
            count=job.workers,
            address=job.address,
            narrator=narrator,
        )
        said = _Said(folder)
        stage = None
        if missing:
            with progress() as report, bad_input():
                stage = read_aloud(missing, workers, said.keep, report, stop=stop)
        for line in said.left_out:
            print(clean(line))
        if said.lost:
            raise RunFailed(
                f"{plural(said.lost, 'caption')} lost to processes that died; what was read is "
                "kept, run the same command again"
            )
        folder.write_units()
        if job.layout == "flickr":
            folder.write_flickr()
        else:
            folder.write_manifests(plan.datasets)
        _print_end(job, plan, said, stage)
    return 0


def _narration(job: NarrationJob, plan: NarrationPlan) -> Narration:
    # A folder's path belongs to one machine, so its digest is stored.
    name = job.voice if job.voice == PIPER else Path(job.voice).name
    splits = tuple(sorted({dataset.split for dataset in plan.datasets}))
    codec = _codec(job)
    return Narration(
        voice=name,
        voice_digest=voice_digest(job.voice),
        normalisation=VERSION,
        dataset=plan.datasets[0].name,
        splits=splits,
        codec_digest=codec_facts(*codec).digest if codec is not None else None,
        bandwidth=job.bandwidth,
    )


def _codec(job: NarrationJob) -> tuple[str, float] | None:
    """Returns the codec whose units are written, and its bandwidth in kbps."""
    if job.codec is None or job.bandwidth is None:
        return None
    return job.codec, job.bandwidth


class _Said:
    """Stores the speech and counts it."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.new, self.seconds, self.lost = 0, 0.0, 0
        self.left_out: list[str] = []

    def keep(self, said: Said) -> None:
        speech = said.speech
        if speech.reason:
            self.left_out.append(left_out_line(said.utterance, speech.reason))
            self.lost += said.machine
            return
        self.folder.keep(said.utterance, speech.wav, speech.units)
        self.new += 1
        self.seconds += speech.seconds


def _print_left_out(plan: NarrationPlan) -> None:
    for dataset in plan.datasets:
        for item, reason in dataset.unusable:
            print(clean(f"{item}: left out: {reason}"))
    for line in plan.left_out:
        print(clean(line))


def _print_end(job: NarrationJob, plan: NarrationPlan, said: _Said, stage: Stage | None) -> None:
    left_out = len(plan.left_out) + len(said.left_out)
    captions = plural(len(plan.utterances) - len(said.left_out), "caption")
    line = f"{job.output}: {captions} of {plan.title}, {left_out} left out, read by {job.voice}"
    if (codec := _codec(job)) is not None:
        line += f", units by {codec[0]} at {codec[1]:g} kbps"
    if said.new:
        line += f"; {said.new} of them now, {duration(said.seconds)} of speech"
    print(clean(line))
    if stage is not None and stage.seconds:
        seconds = stage.seconds / stage.actors
        busy = f"{plural(stage.actors, 'worker')} {stage.duty:.0%} busy for {duration(seconds)}"
        if stage.cpu and stage.cores and said.seconds:
            used = stage.cpu / (stage.cores * seconds)
            busy += (
                f", {plural(stage.cores, 'core')} {used:.0%}; "
                f"{stage.cpu / said.seconds:.3f} CPU-seconds per second of speech"
            )
        print(f"{busy}; {stage.items / seconds:.3g} captions/s")
