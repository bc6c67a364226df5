"""Runs a training job: data, loop, progress, a log in plain files, weights exported in float16."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from transformers import EncodecModel

from bench.datasets.scenes.captions import captions
from bench.datasets.scenes.world import sample_scene
from bench.training.data import Report, read_wave, spoken_of
from bench.training.log import Log, draw
from bench.training.pixvox import export, run_pixvox, state_folder
from bench.training.spec import CodecJob, PixVoxJob, VisionJob
from pixvox.codec_training import tiny_config, train_codec
from pixvox.configuration import PixVoxConfig
from pixvox.modeling import PixVoxLM
from pixvox.vision_training import pretrain, word_targets


def run_codec(job: CodecJob, report: Report) -> None:
    """Trains and exports a codec."""
    if job.threads:
        torch.set_num_threads(job.threads)
    torch.manual_seed(job.plan.seed)
    if job.start_from is not None:
        codec = EncodecModel.from_pretrained(job.start_from, dtype=torch.float32)
    else:
        codec = EncodecModel(tiny_config())
    spoken = spoken_of(job.data, "train", report)[: job.clips]
    waves = [read_wave(one.speech, codec.config.sampling_rate) for one in spoken]
    state = state_folder(job)
    log = Log(state)
    for step in train_codec(codec, waves, job.plan, state, job.start_from is None):
        log.write(asdict(step))
        report(f"loss {step.loss:.3f}", step.step, job.plan.steps)
    draw(state)
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
    state = state_folder(job)
    log = Log(state)
    for number, loss in pretrain(vision, torch.stack(pictures), shares, job.plan, state):
        log.write({"step": number, "loss": loss})
        report(f"loss {loss:.3f}", number, job.plan.steps)
    draw(state)
    export(vision, job.output)


RUNNERS: dict[type, Callable[[Any, Report], None]] = {
    CodecJob: run_codec,
    VisionJob: run_vision,
    PixVoxJob: run_pixvox,
}
