"""The codec's time in Table II's rows, with an earlier commit and with this checkout, in one run.

The model has the paper's size, K = 8 and random weights, and so has the codec, whose architecture
is EnCodec's of 24 kHz. What a commit runs is `pixvox run` on the shipped scenes; every call of the
codec is timed in the process that makes it, in seconds of that thread's CPU, so that whatever else
the machine does is left out. What it takes from the caches is not: with `--rounds` both commits run
in turn, and of each the round with the fewest seconds counts.
"""

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import torch

from bench.commands.options import Parser, path, whole
from bench.common.errors import RunFailed
from bench.common.machine import machine
from bench.common.machine import save as save_figures
from pixvox.codec.facts import codec_facts
from pixvox.configuration import PixVoxConfig
from pixvox.modeling import PixVoxLM
from tests.evidence.program import ROOT, program

BEFORE = "2660645"
"""The commit before speech was decoded in groups and captions were encoded once."""
PROMPTS = [0, 0.25, 0.5]
STAGES = {"generated": "units", "transcribed": "transcript"}
"""The ledger's stages, and the column of each that is compared."""
BANDWIDTH = 6.0
"""kbps; K = 8 of EnCodec's codebooks."""

_TIMER = '''
"""Loaded by every Python process that has this folder on its path: times the codec's methods."""

import importlib.abc, importlib.machinery, os, sys, time

NAME = "pixvox.codec.encodec"
depth = 0


def timed(method, what):
    def call(codec, *arguments):
        global depth
        depth, begun = depth + 1, time.thread_time()
        try:
            return method(codec, *arguments)
        finally:
            depth, seconds = depth - 1, time.thread_time() - begun
            if not depth:
                with open(os.environ["CODEC_TIMES"], "a") as stream:
                    stream.write(f"{what} {seconds}\\n")
    return call


class Loader(importlib.abc.Loader):
    def __init__(self, loader):
        self.loader = loader

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        self.loader.exec_module(module)
        for what in ("encode", "decode", "decode_all"):
            if method := vars(module.Codec).get(what):
                setattr(module.Codec, what, timed(method, what.removesuffix("_all")))


class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != NAME:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec:
            spec.loader = Loader(spec.loader)
        return spec


sys.meta_path.insert(0, Finder())
'''


def _export(commit: str, folder: Path) -> None:
    """Unpacks a commit of this repository; raises RunFailed if git does not have it."""
    command = ["git", "-C", str(ROOT), "archive", commit]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise RunFailed(f"{commit}: {done.stderr.decode().strip()}; fetch the whole history")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")


def _make_codec(folder: Path) -> None:
    """Writes EnCodec's architecture of 24 kHz with random weights and codebooks."""
    from transformers import EncodecConfig, EncodecModel

    from pixvox.training.codec import initialise_weights

    torch.manual_seed(0)
    model = EncodecModel(EncodecConfig()).eval()
    initialise_weights(model, seed=0)
    for layer in model.quantizer.layers:
        layer.codebook.embed.normal_()
    model.save_pretrained(folder)


def _make_model(folder: Path, codec: Path, tiny: bool) -> None:
    torch.manual_seed(0)
    facts = codec_facts(str(codec), BANDWIDTH)
    sizes = {"num_codebooks": 8, "codec": str(codec), "codec_digest": facts.digest}
    make = PixVoxConfig.tiny if tiny else PixVoxConfig.base
    of_codec = {"codebook_size": 1024, "frame_rate": 75, "bandwidth": BANDWIDTH}
    PixVoxLM(make(pattern="delay", **sizes, **of_codec)).save_pretrained(folder)


def _run(tree: Path, job: Path, folder: Path) -> dict[str, Any]:
    """Runs a job with the code of a tree; returns the codec's calls, and rows' units and
    transcripts."""
    folder.mkdir()
    hook = folder / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(_TIMER)
    times = folder / "times"
    times.touch()
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(hook), str(tree)]),
        "CODEC_TIMES": str(times),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "bench.cli", "run", str(job), "--runs", str(folder / "runs")]
    done = subprocess.run(
        command, cwd=tree, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RunFailed(
            f"the run by {tree.name} ended with {done.returncode}: {done.stderr[-400:]}"
        )
    seconds: dict[str, list[float]] = {"encode": [], "decode": []}
    for line in times.read_text().splitlines():
        what, value = line.split()
        seconds[what].append(float(value))
    rows = {
        stage: {
            (file.parent.name, row["item"]): row[column]
            for file in (folder / "runs").rglob(f"{stage}/*/part-*.parquet")
            for row in pl.read_parquet(file).filter(status="ok").iter_rows(named=True)
        }
        for stage, column in STAGES.items()
    }
    return {"seconds": seconds, "rows": rows}


def _codec_seconds(run: dict[str, Any]) -> float:
    return sum(map(sum, run["seconds"].values()))


def measure(before: str, limit: int, seconds: float, *, tiny: bool, rounds: int) -> dict[str, Any]:
    """Runs the same job by both trees, and compares their codec seconds, units and transcripts."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _make_codec(folder / "codec")
        _make_model(folder / "model", folder / "codec", tiny)
        system = {
            "kind": "pixvox",
            "label": "PixVoxLM-Delay",
            "weights": str(folder / "model"),
            "prompts": PROMPTS,
            "decoding": {"max_seconds": seconds, "slots": limit * len(PROMPTS)},
        }
        job = folder / "table2.yaml"
        job.write_text(
            json.dumps(
                {
                    "name": "table2",
                    "dataset": {"name": "scenes"},
                    "limit": limit,
                    "systems": [system],
                    "cluster": {"generators": 1, "transcribers": 1},
                    "tables": ["table2"],
                }
            )
        )
        _export(before, folder / "before")
        _export("HEAD", folder / "after")
        all_runs: dict[str, list[dict[str, Any]]] = {"before": [], "after": []}
        for number in range(rounds):
            for way, runs in all_runs.items():
                runs.append(_run(folder / way, job, folder / f"{way}-run-{number}"))
    fastest = {way: min(runs, key=_codec_seconds) for way, runs in all_runs.items()}
    totals = {way: [_codec_seconds(run) for run in runs] for way, runs in all_runs.items()}
    expected = limit * len(PROMPTS)
    return {"rounds": rounds, "codec seconds": totals} | _compared(fastest, expected)


def _compared(runs: dict[str, dict[str, Any]], expected: int) -> dict[str, Any]:
    figures: dict[str, Any] = {"rows": expected}
    for way, run in runs.items():
        figures[way] = {f"{what} calls": len(calls) for what, calls in run["seconds"].items()} | {
            f"{what} seconds a row": sum(calls) / expected for what, calls in run["seconds"].items()
        }
        figures[way]["codec seconds a row"] = _codec_seconds(run) / expected
    for stage in STAGES:
        before, after = (run["rows"][stage] for run in runs.values())
        figures[f"same {stage}"] = sum(before.get(at) == value for at, value in after.items())
    return figures


def run(given: Any) -> int:
    """Prints and saves the figures; 3 where rows differ or the codec is too slow."""
    figures = measure(
        given.before, given.limit, given.seconds, tiny=given.tiny, rounds=given.rounds
    )
    ratio = figures["after"]["codec seconds a row"] / figures["before"]["codec seconds a row"]
    for way in ("before", "after"):
        print(way, {name: round(value, 3) for name, value in figures[way].items()})
    rows = figures["rows"]
    print(
        f"codec seconds a row: {ratio:.2f} of before; of {rows} rows "
        f"{figures['same generated']} have the same units, "
        f"{figures['same transcribed']} the same transcript"
    )
    facts = {"before commit": given.before, "max seconds": given.seconds, "tiny": given.tiny}
    save_figures(
        facts | {"machine": machine(torch.device("cpu")).__dict__, "ratio": ratio} | figures,
        given.save,
    )
    same = figures["same generated"] == figures["same transcribed"] == rows
    return 0 if same and ratio <= 0.5 else 3


def main(words: Sequence[str]) -> int:
    """Measures what the command line asks for; the exit code."""
    parser = Parser(
        prog="python -m tests.evidence.codecspeed",
        description="The codec's time in Table II's rows, by an earlier commit and by this one.",
    )
    parser.add_argument("--before", default=BEFORE, help="the earlier commit")
    parser.add_argument("--limit", type=whole(1, 1000), default=4, help="images")
    parser.add_argument("--seconds", type=float, default=6.0, help="the longest speech")
    parser.add_argument("--rounds", type=whole(1, 100), default=1, help="runs of each commit")
    parser.add_argument("--tiny", action="store_true", help="the zoo's size, to try the program")
    parser.add_argument("--save", type=path, help="write the figures as JSON")
    return run(parser.parse_args(words))


if __name__ == "__main__":
    program(main)
