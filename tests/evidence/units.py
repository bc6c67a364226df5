"""Tests that units do not depend on caches, threads or the place of the code.

Every way generates the units of the demo job's six PixVoxLM cells, and the best of four candidates,
in a fresh process: with numba's cache empty and filled, with one thread and two, and from a wheel
installed elsewhere. They must agree bit for bit. A last way has the libraries use narrower vector
instructions, as another machine would: what that changes is counted, not forbidden.
"""

import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.commands.options import Parser, path, whole
from bench.common.errors import RunFailed
from bench.common.machine import machine, save
from tests.evidence.program import ROOT, program

PARALLEL, DELAY = "zoo:pixvox-tiny-parallel", "zoo:pixvox-tiny-delay"
PROMPTS = (0.0, 0.25, 0.5)
GENERATED: tuple[tuple[str, Mapping[str, Any], tuple[float, ...]], ...] = (
    (PARALLEL, {"temperature": (0.3, 1.0, 1.0, 1.0), "guidance": 2.0}, PROMPTS),
    (DELAY, {"guidance": 2.0}, PROMPTS),
    (DELAY, {"temperature": 0.3, "guidance": 1.5, "candidates": 4}, PROMPTS[:1]),
)
"""Weights, how they decode, and from which prompts."""
_NARROW = {
    "NUMBA_CPU_NAME": "haswell",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
}
"""Variables that make numba, oneDNN, MKL and PyTorch compute as without AVX-512."""

Units = Mapping[str, str]
"""`MODEL, DECODING at PROMPT, ITEM` → the digest of its units."""


@dataclass(frozen=True)
class Way:
    """A new process: its threads, its environment variables, and the folder of its code."""

    name: str
    threads: int
    environment: Mapping[str, str]
    code: Path | None = None


def generated(images: int, threads: int) -> Units:
    """Returns the digests of all cells' units for the first shipped pictures."""
    import torch

    from bench.datasets.scenes.load import load_scenes
    from bench.systems.base import Variant
    from bench.systems.decoding import DecodingSpec
    from bench.systems.pixvox import PixVoxSystem

    torch.set_num_threads(threads)
    digests: dict[str, str] = {}
    for weights, how, prompts in GENERATED:
        decoding = DecodingSpec.model_validate(how)
        system = PixVoxSystem(kind="pixvox", label="units", weights=weights, decoding=decoding)
        said = ", ".join(decoding.described())
        variants = tuple(Variant(f"{share:.0%}", share, system) for share in prompts)
        asked = [(item, variants) for item in load_scenes().items[:images]]
        for key, row in system.generator("cpu").generate(asked):
            content = f"{row.status} {row.ended} ".encode() + row.units
            digest = hashlib.sha256(content).hexdigest()[:16]
            digests[f"{weights}, {said} at {key}, {row.item}"] = digest
    return digests


def generated_by(way: Way, images: int, folder: Path) -> Units:
    """Returns `generated` of another process; raises RunFailed if that fails."""
    words = ("--images", str(images), "--threads", str(way.threads))
    # Only this program is of this checkout where the code is that of a wheel.
    code = [str(way.code)] if way.code is not None else []
    done = subprocess.run(
        [sys.executable, "-P", "-m", "tests.evidence.units", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*code, str(ROOT)]), **way.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RunFailed(f"{way.name}: {' '.join(done.stderr.strip().splitlines()[-1:])}")
    units: Units = json.loads(done.stdout.splitlines()[-1])
    return units


def _wheel(folder: Path) -> Path:
    """Builds this checkout's wheel and installs only it into a folder."""
    target = folder / "a wheel elsewhere"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    steps = (
        [
            "wheel",
            "--no-deps",
            "--wheel-dir",
            str(folder / "built"),
            str(Path(__file__).parents[2]),
        ],
        ["install", "--no-deps", "--target", str(target), "--no-index", "--find-links"],
    )
    for step in (steps[0], [*steps[1], str(folder / "built"), "pixvox-bench"]):
        done = subprocess.run([*pip, *step], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RunFailed(f"pip {step[0]}: {' '.join(done.stderr.strip().splitlines()[-1:])}")
    return target


def ways(folder: Path, narrow: bool) -> list[Way]:
    """Returns the ways to compare: the first has nothing compiled, the last narrow vectors."""
    here = {"NUMBA_CACHE_DIR": str(folder / "numba")}
    other = {
        "NUMBA_CACHE_DIR": str(folder / "other numba"),
        "HOME": str(folder / "home"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "LC_ALL": "C",
    }
    environments = [
        Way("first run, one thread", 1, here),
        Way("second run, one thread", 1, here),
        Way("second run, two threads", 2, here),
        Way("a wheel elsewhere, first run, two threads", 2, other, _wheel(folder)),
    ]
    if narrow and platform.machine() == "x86_64":
        environments.append(Way("narrower vectors (AVX2)", 1, _NARROW | here))
    return environments


def measure(
    images: int, report: Callable[[str, int, int], None], narrow: bool = True
) -> dict[str, Any]:
    """Returns how many speeches each way generates differently from the first.

    Without `narrow` the way with narrower vectors is left out.
    """
    with tempfile.TemporaryDirectory(prefix="pixvox-units-") as name:
        folder = Path(name)
        asked = ways(folder, narrow)
        units: list[Units] = []
        for number, way in enumerate(asked):
            report("units", number, len(asked))
            units.append(generated_by(way, images, folder))
        report("units", len(asked), len(asked))
    first = units[0]
    changed = [sum(first[name] != digests[name] for name in first) for digests in units]
    counts = {way.name: count for way, count in zip(asked, changed, strict=True)}
    other = [way.name for way in asked if "ONEDNN_MAX_CPU_ISA" in way.environment]
    import torch

    return {
        "images": images,
        "speeches": len(first),
        "changed": {name: count for name, count in counts.items() if name not in other},
        "other_machine": {name: counts[name] for name in other},
        "digest": hashlib.sha256(json.dumps(first, sort_keys=True).encode()).hexdigest()[:16],
        "machine": asdict(machine(torch.device("cpu"))),
    }


def run(images: int, path: Path | None) -> int:
    """Measures, prints and saves; returns 3 if a unit changed that must not."""
    from bench.common.progress import progress

    with progress() as report:
        result = measure(images, report)
    for name, count in (result["changed"] | result["other_machine"]).items():
        print(f"{name}: {count} of {result['speeches']} speeches differ from the first run's")
    good = not any(result["changed"].values())
    print(f"units {result['digest']}: {'the same in every way' if good else 'NOT the same'}")
    save(result, path)
    return 0 if good else 3


def main(words: Sequence[str]) -> int:
    """Measures what the command line asks for; returns the exit code."""
    parser = Parser(
        prog="python -m tests.evidence.units",
        description="Whether units are the same in every way of running.",
    )
    parser.add_argument("--images", type=whole(1, 1_000_000), default=200)
    parser.add_argument("--threads", type=whole(1, 1024), help="in this process, printed as JSON")
    parser.add_argument("--save", type=path, help="write the figures as JSON")
    given = parser.parse_args(words)
    if given.threads is not None:
        print(json.dumps(generated(given.images, given.threads)))
        return 0
    return run(given.images, given.save)


if __name__ == "__main__":
    program(main)
