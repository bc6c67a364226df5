"""Builds a split of the scenes into a folder: pictures, captions, speech, and a manifest.

The folder is `images/ID.png`, `speech/ID_K.(wav|ogg)` and `manifest.jsonl`, one line an image:
`{"id", "image", "facts", "captions": [{"text", "speech"}]}`. Existing files are not written again,
so an interrupted build resumes where it stopped.
"""

import io
import json
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.common.atomic import write_bytes
from bench.common.audio import Wave
from bench.common.errors import UserError
from bench.datasets.scenes.captions import captions
from bench.datasets.scenes.facts import truth
from bench.datasets.scenes.world import sample_scene

MANIFEST = "manifest.jsonl"
PLAN = "plan.json"


@dataclass(frozen=True, kw_only=True)
class SplitPlan:
    """The split to build.

    `spoken` is the number of captions, of five, that get speech. `lossy` stores Opus instead of
    16-bit PCM, so that a test split is small enough to ship.
    """

    split: str
    images: int
    seed: int = 0
    spoken: int = 5
    lossy: bool = False


def item_id(split: str, index: int) -> str:
    """Returns the id of a picture, which also names its files."""
    return f"{split}_{index:05d}"


def encode_speech(wave: Wave, lossy: bool) -> bytes:
    """Returns samples `[T]` at 16 kHz as the bytes of an Opus or a 16-bit PCM file."""
    import soundfile

    from bench.datasets.scenes.speech import SAMPLE_RATE

    buffer = io.BytesIO()
    if lossy:
        soundfile.write(
            buffer, wave, SAMPLE_RATE, format="OGG", subtype="OPUS", compression_level=0.95
        )
    else:
        soundfile.write(buffer, wave, SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def _build_item(plan: SplitPlan, folder: Path, index: int) -> dict[str, object]:
    from bench.datasets.scenes.drawing import draw
    from bench.datasets.scenes.speech import speak

    name = item_id(plan.split, index)
    scene = sample_scene(plan.split, index, plan.seed)
    image = folder / "images" / f"{name}.png"
    if not image.exists():
        write_bytes(image, draw(scene))
    rows: list[dict[str, str]] = []
    for number, text in enumerate(captions(scene, plan.split, index, plan.seed)):
        row = {"text": text}
        if number < plan.spoken:
            speech = folder / "speech" / f"{name}_{number}.{'ogg' if plan.lossy else 'wav'}"
            if not speech.exists():
                write_bytes(speech, encode_speech(speak(text), plan.lossy))
            row["speech"] = str(speech.relative_to(folder))
        rows.append(row)
    picture = str(image.relative_to(folder))
    return {"id": name, "image": picture, "facts": truth(scene), "captions": rows}


def read_plan(folder: Path) -> Any:
    """Returns the plan that a folder's scenes were drawn with; None where it cannot be read."""
    try:
        return json.loads((folder / PLAN).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def _same_split(plan: SplitPlan, folder: Path) -> None:
    """Raises UserError where the folder holds another split, whose files would be reused."""
    path = folder / PLAN
    stated = {"split": plan.split, "seed": plan.seed, "lossy": plan.lossy}
    if path.exists() and read_plan(folder) != stated:
        raise UserError(f"{folder}: holds another split, seed or format; name another folder")
    write_bytes(path, json.dumps(stated).encode())


def build_split(plan: SplitPlan, folder: Path, workers: int | None = None) -> Iterator[int]:
    """Builds the split in `folder`; yields the number of finished images after each.

    Raises UserError for a folder that holds another split.
    """
    try:
        (folder / "images").mkdir(parents=True, exist_ok=True)
        (folder / "speech").mkdir(exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(f"{folder}: is a file, or its images or speech is; name another") from error
    _same_split(plan, folder)
    rows: list[dict[str, object]] = []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers or os.cpu_count(), mp_context=context) as pool:
        jobs = [pool.submit(_build_item, plan, folder, index) for index in range(plan.images)]
        try:
            for job in jobs:
                rows.append(job.result())
                yield len(rows)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    write_bytes(folder / MANIFEST, lines.encode())
