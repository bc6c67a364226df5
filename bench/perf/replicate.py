"""One replicate of a speed comparison: a new process that decodes a few test pictures.

`python -P replicate.py WEIGHTS IMAGES DELAY` warms up, then measures once for every line of its
input, so that two of them can take turns. It answers each with a line of JSON, and at the end with
its facts and counts. It measures the pixvox that is first on its path, whichever checkout this file
is in. Counts depend only on the code and the weights.
"""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import pixvox

ENCODINGS = 4
"""How often all pictures are encoded, because once is too short to be timed."""


def _delayed(engine: Any, share: float) -> None:
    """Slows every decoding step by a share of its time: an artificial regression."""
    step = engine._advance

    def slower(window: int) -> None:
        started = time.perf_counter()
        step(window)
        until = time.perf_counter() + share * (time.perf_counter() - started)
        while time.perf_counter() < until:
            pass

    engine._advance = slower


def peak_mb() -> float:
    """Returns the highest memory use of this process, in MB."""
    status = Path("/proc/self/status")
    if status.exists():
        # getrusage starts with the parent's maximum, which hides smaller values.
        high = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(high.split()[1]) / 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


class _Decoding:
    """The first shipped pictures, ready to be encoded and decoded repeatedly."""

    def __init__(self, folder: Path, images: int, delay: float) -> None:
        from bench.datasets.scenes.load import load_scenes
        from pixvox.decoding.engine import Engine
        from pixvox.decoding.requests import Request
        from pixvox.decoding.sampling import Decoding
        from pixvox.modeling import PixVoxLM
        from pixvox.processing import PixVoxProcessor

        self.model = PixVoxLM.from_pretrained(folder, dtype=torch.float32).eval()
        # Older checkouts have it too, and their image encoders may expect other pictures.
        self.processor = PixVoxProcessor.of(self.model.config)
        self.calls = 0
        self.model.vision.register_forward_hook(self._count)
        self.items = load_scenes(None).items[:images]
        self.engine = Engine(self.model, Decoding(temperature=0.5, max_seconds=4.0, slots=16))
        if delay:
            _delayed(self.engine, delay)
        none = torch.zeros(self.model.config.num_codebooks, 0, dtype=torch.long)
        self.asked = [
            Request(item=item.id, image=row, prompt=none) for row, item in enumerate(self.items)
        ]

    def _count(self, *_: object) -> None:
        self.calls += 1

    def once(self) -> tuple[dict[str, float], list[Any]]:
        """Returns the seconds of encoding and of decoding, and the generated units."""
        started = time.perf_counter()
        with torch.inference_mode():
            for _ in range(ENCODINGS):
                states = torch.cat(
                    [
                        self.model.encode_images(self.processor(item.image)["pixel_values"])
                        for item in self.items
                    ]
                )
        encoded = time.perf_counter()
        generations = self.engine.generate(states, self.asked)
        seconds = {"encoding": encoded - started, "decoding": time.perf_counter() - encoded}
        return seconds, generations

    def committed(self, generations: list[Any]) -> int:
        """Returns the number of bytes that a ledger takes for the generated units."""
        from bench.store.ledger import Ledger
        from bench.store.rows import GENERATED_SCHEMA, SpeechRow, frame, packed

        rows = [
            SpeechRow(
                item=item.id,
                status="ok",
                units=packed(speech.units.numpy()),
                codebooks=len(speech.units),
            )
            for item, speech in zip(self.items, generations, strict=True)
        ]
        with tempfile.TemporaryDirectory() as name:
            Ledger(Path(name)).append("generated", "replicate", frame(rows, GENERATED_SCHEMA))
            return sum(part.stat().st_size for part in Path(name).rglob("*.parquet"))


def _print_facts(facts: dict[str, Any]) -> None:
    print(json.dumps(facts), flush=True)


def replicate(weights: str, images: int, delay: float = 0.0) -> None:
    """Encodes, decodes and commits the first shipped pictures, once for every line of its input."""
    # pixvox is that of the measured checkout; bench is that of this file.
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from pixvox.digests import digest
    from pixvox.weights import resolve

    torch.set_num_threads(1)
    folder = resolve(weights)
    decoding = _Decoding(folder, images, delay)
    _, generations = decoding.once()
    counters = {
        "decoder steps": decoding.engine.steps_run,
        "encoder calls": decoding.calls // ENCODINGS,
        "tokens": sum(speech.units.numel() for speech in generations),
    }
    _print_facts({"code": str(Path(pixvox.__file__).resolve())})
    for _ in sys.stdin:
        _print_facts(decoding.once()[0])
    # Last, because its imports would be measured too.
    counters["bytes committed"] = decoding.committed(generations)
    _print_facts({"weights": digest(folder), "peak_mb": peak_mb(), "counters": counters})


if __name__ == "__main__":
    replicate(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
