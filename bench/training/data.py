"""Scenes as training data: built when missing, units cached."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bench.datasets.scenes.build import MANIFEST, SplitPlan, build_split
from bench.training.spec import ScenesData
from pixvox.codec import Codec
from pixvox.images import load_image
from pixvox.modeling import PixVoxLM
from pixvox.training import SpokenCaptions

Report = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


def ensure_split(data: ScenesData, split: str, images: int, report: Report) -> list[dict[str, str]]:
    """Builds a split as far as it is missing; one row a spoken caption: id, image, text, speech."""
    folder = data.folder / split
    manifest = folder / MANIFEST
    if not manifest.exists() or len(manifest.read_text().splitlines()) < images:
        for done in build_split(SplitPlan(split, images, data.seed), folder):
            report(f"scenes {split}", done, images)
    rows = []
    for line in manifest.read_text().splitlines()[:images]:
        item = json.loads(line)
        image = str(folder / item["image"])
        rows += [
            {
                "id": item["id"],
                "image": image,
                "text": c["text"],
                "speech": str(folder / c["speech"]),
            }
            for c in item["captions"]
        ]
    return rows


def read_wave(path: str) -> npt.NDArray[np.float32]:
    """Speech `[T]` as the scenes store it: mono, 16 kHz."""
    import soundfile

    wave, _ = soundfile.read(path, dtype="float32")
    return np.asarray(wave, dtype=np.float32)


def _units(rows: list[dict[str, str]], codec: Codec, cache: Path, report: Report) -> list[Tensor]:
    """Units of every row's speech, int64 `[K, N]`; cached under the codec's own digest."""
    file = cache / f"units-{codec.digest}-{codec.bandwidth}.pt"
    known: dict[str, Tensor] = torch.load(file, weights_only=True) if file.exists() else {}
    missing = [row["speech"] for row in rows if row["speech"] not in known]
    for number, speech in enumerate(missing):
        known[speech] = codec.encode(read_wave(speech)).to(torch.int16)
        report("units", number + 1, len(missing))
    if missing:
        torch.save(known, file)
    return [known[row["speech"]].long() for row in rows]


@torch.inference_mode()
def _image_states(paths: list[str], model: PixVoxLM) -> npt.NDArray[np.float32]:
    size = model.config.vision_config.image_size
    chunks = [
        model.encode_images(torch.stack([load_image(Path(p), size) for p in paths[i : i + 64]]))
        for i in range(0, len(paths), 64)
    ]
    return np.asarray(torch.cat(chunks).numpy())


def spoken_captions(
    data: ScenesData, split: str, images: int, codec: Codec, model: PixVoxLM, report: Report
) -> SpokenCaptions:
    """A split ready for training: units of all spoken captions, every image encoded once."""
    rows = ensure_split(data, split, images, report)
    paths = sorted({row["image"] for row in rows})
    index = {path: number for number, path in enumerate(paths)}
    units = _units(rows, codec, data.folder / split, report)
    return SpokenCaptions(units, [index[row["image"]] for row in rows], _image_states(paths, model))
