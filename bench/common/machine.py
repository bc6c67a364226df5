"""Describes the machine that figures were measured on, and measures its memory bandwidth."""

import importlib.metadata
import json
import os
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.common.atomic import write_text

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The processor, the GPU if one is used, and the versions that speed depends on."""

    processor: str
    threads: int
    gpu: str
    python: str
    torch: str
    transformers: str


def processor() -> str:
    """Returns the processor's name."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        if names:
            return names[0].split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def machine(device: "torch.device") -> Machine:
    """Returns the facts of this machine, without host and user names."""
    import torch

    return Machine(
        processor=processor(),
        threads=torch.get_num_threads(),
        gpu=torch.cuda.get_device_name(device) if device.type == "cuda" else "",
        python=platform.python_version(),
        torch=torch.__version__,
        transformers=importlib.metadata.version("transformers"),
    )


def save(figures: Mapping[str, Any], path: Path | None) -> None:
    """Writes figures and the machine that they were measured on as JSON; does nothing for None."""
    if path is None:
        return
    facts = dict(figures)
    if "machine" not in facts:
        facts |= {"processor": processor(), "cores": os.cpu_count()}
    write_text(path, json.dumps(facts, indent=1) + "\n")


def wait(device: "torch.device") -> None:
    """Waits until the device has finished all submitted work."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)


def bandwidth(device: "torch.device", megabytes: int = 512) -> float:
    """Returns the bandwidth of a large copy in bytes/s, reads and writes counted; best of 7."""
    import torch

    source = torch.empty(megabytes * 1024 * 1024 // 4, device=device).fill_(1.0)
    target = torch.empty_like(source)
    best = float("inf")
    for _ in range(7):
        wait(device)
        start = time.perf_counter()
        target.copy_(source)
        wait(device)
        best = min(best, time.perf_counter() - start)
    return 2 * source.numel() * 4 / best
