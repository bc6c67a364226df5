"""Measures replicates of decoding, some of them slowed, for tests.evidence.gates."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from bench.commands.options import Parser, path, weights, whole
from bench.common.machine import save as save_figures
from bench.perf.turns import Way, measured
from tests.evidence.program import program

DELAY = 0.1
"""The share by which every decoding step is slowed."""
WAYS = ("base", "the same again", "decoding 10% slower")


def measure_speed(weights: str, rounds: int, save: Path) -> int:
    """Measures replicates of this checkout, two unchanged and one slowed, and saves them all."""
    ways = [Way(Path.cwd(), weights, delay=share) for share in (0.0, 0.0, DELAY)]
    measurements, canaries = measured(ways, rounds)
    replicates = {
        name: [asdict(replicate) for replicate in of_way]
        for name, of_way in zip(WAYS, measurements, strict=True)
    }
    save_figures({"replicates": replicates, "canaries": canaries}, save)
    return 0


def main(words: Sequence[str]) -> int:
    """Measures what the command line asks for; the exit code."""
    parser = Parser(
        prog="python -m tests.evidence.speed", description="Replicates of decoding, some slowed."
    )
    parser.add_argument("--weights", type=weights, default="zoo:pixvox-tiny-delay")
    parser.add_argument("--rounds", type=whole(1, 100_000), default=20)
    parser.add_argument("--save", type=path, default=Path("results/perf/speed.json"))
    given = parser.parse_args(words)
    return measure_speed(given.weights, given.rounds, given.save)


if __name__ == "__main__":
    program(main)
