"""Runs a training job: data, loop, progress, a log in plain files, weights exported in float16."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from transformers import EncodecModel, PreTrainedModel

from bench.datasets.scenes.captions import captions
from bench.datasets.scenes.world import sample_scene
from bench.training.data import Report, ensure_split, read_wave, spoken_captions
from bench.training.spec import CodecJob, PixVoxJob, VisionJob
from pixvox.codec_training import tiny_config, train_codec
from pixvox.configuration import PixVoxConfig
from pixvox.modeling import PixVoxLM
from pixvox.training import train
from pixvox.vision_training import pretrain, word_targets


def export(model: PreTrainedModel, folder: Path) -> None:
    """Saves as float16 safetensors: half the bytes, and loaded as float32 for use."""
    model.half().save_pretrained(folder)
    model.float()


class _Log:
    """`log.jsonl` beside the state: one line a step, so that a curve can be drawn again."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / "log.jsonl").open("a")
        self._start = time.perf_counter()

    def write(self, row: dict[str, Any]) -> None:
        seconds = round(time.perf_counter() - self._start, 2)
        self._file.write(json.dumps(row | {"seconds": seconds}) + "\n")
        self._file.flush()


def run_codec(job: CodecJob, report: Report) -> None:
    """Trains and exports a codec."""
    if job.threads:
        torch.set_num_threads(job.threads)
    rows = ensure_split(job.data, "train", job.data.train_images, report)
    waves = [read_wave(row["speech"]) for row in rows[: job.clips]]
    torch.manual_seed(job.plan.seed)
    if job.start_from is not None:
        codec = EncodecModel.from_pretrained(job.start_from, dtype=torch.float32)
    else:
        codec = EncodecModel(tiny_config())
    state = job.output.with_name(job.output.name + ".training")
    log = _Log(state)
    for step in train_codec(codec, waves, job.plan, state, job.start_from is None):
        log.write(asdict(step))
        report(f"loss {step.loss:.3f}", step.step, job.plan.steps)
    export(codec, job.output)


def run_vision(job: VisionJob, report: Report) -> None:
    """Pretrains and exports an image encoder."""
    from bench.datasets.scenes.drawing import draw_array

    pictures, texts = [], []
    for index in range(job.images):
        scene = sample_scene("pretrain", index, job.seed)
        pictures.append(torch.from_numpy(draw_array(scene)).permute(2, 0, 1))
        texts.append(captions(scene, "pretrain", index, job.seed))
        report("drawing", index + 1, job.images)
    torch.manual_seed(job.plan.seed)
    vision = PixVoxLM(PixVoxConfig.tiny()).vision
    _, shares = word_targets(texts)
    log = _Log(job.output.with_name(job.output.name + ".training"))
    for number, loss in enumerate(pretrain(vision, torch.stack(pictures), shares, job.plan), 1):
        log.write({"step": number, "loss": loss})
        report(f"loss {loss:.3f}", number, job.plan.steps)
    export(vision, job.output)


def run_pixvox(job: PixVoxJob, report: Report) -> None:
    """Trains and exports a PixVoxLM over a frozen image encoder."""
    from transformers.models.blip.modeling_blip import BlipVisionModel

    from pixvox.codec import Codec

    if job.threads:
        torch.set_num_threads(job.threads)
    codec = Codec.load(job.codec, job.bandwidth)
    torch.manual_seed(job.plan.seed)
    config = PixVoxConfig.tiny(
        pattern=job.pattern,
        dropout=job.dropout,
        codec=f"zoo:{Path(job.codec).name}",
        codec_digest=codec.digest,
        bandwidth=job.bandwidth,
    )
    model = PixVoxLM(config)
    vision = BlipVisionModel.from_pretrained(job.vision, dtype=torch.float32)
    model.vision.load_state_dict(vision.state_dict())
    model.eval()
    data = spoken_captions(job.data, "train", job.data.train_images, codec, model, report)
    held = spoken_captions(job.data, "val", job.data.validation_images, codec, model, report)
    state = job.output.with_name(job.output.name + ".training")
    log = _Log(state)
    for step in train(model, data, held, job.plan, state):
        log.write(asdict(step))
        report(f"loss {step.loss:.3f}", step.step, job.plan.steps)
    export(model, job.output)


RUNNERS: dict[type, Callable[[Any, Report], None]] = {
    CodecJob: run_codec,
    VisionJob: run_vision,
    PixVoxJob: run_pixvox,
}
