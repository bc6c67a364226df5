"""Runs a training job: reads data, trains with progress and a log, exports float16 weights."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from transformers import EncodecModel

from bench.common.progress import Progress
from bench.datasets.scenes.captions import captions
from bench.datasets.scenes.world import sample_scene
from bench.datasets.unitcache import read_wave, sound_of
from bench.training.captioner import run_captioner
from bench.training.data import spoken_of
from bench.training.keeping import state_folder
from bench.training.log import Log, draw
from bench.training.pixvox import export, run_pixvox
from bench.training.similarity import run_similarity
from bench.training.spec import CaptionerJob, CodecJob, PixVoxJob, SimilarityJob, VisionJob
from bench.training.stop import Stop, ending
from pixvox.configuration import PixVoxConfig
from pixvox.loading import without_bars
from pixvox.modeling import PixVoxLM
from pixvox.training.codec import tiny_config, train_codec
from pixvox.training.vision import pretrain, word_targets


def run_codec(job: CodecJob, report: Progress, stop: Stop) -> None:
    """Trains and exports a codec; raises KeyboardInterrupt where it was stopped."""
    if job.threads:
        torch.set_num_threads(job.threads)
    torch.manual_seed(job.plan.seed)
    if job.start_from is not None:
        with without_bars():
            codec = EncodecModel.from_pretrained(job.start_from, dtype=torch.float32)
    else:
        codec = EncodecModel(tiny_config())
    spoken = spoken_of(job.data, "train", ending(report, stop))[: job.clips]
    waves = [read_wave(sound_of(speech.caption), codec.config.sampling_rate) for speech in spoken]
    state = state_folder(job)
    log = Log(state)
    last = job.plan.steps
    for step in train_codec(codec, waves, job.plan, state, fresh=job.start_from is None, stop=stop):
        log.write(asdict(step))
        report(f"loss {step.loss:.3f}", last := step.step, job.plan.steps)
    draw(state)
    if last < job.plan.steps:
        raise KeyboardInterrupt
    export(codec, job.output)


def run_vision(job: VisionJob, report: Progress, stop: Stop) -> None:
    """Pretrains and exports an image encoder; raises KeyboardInterrupt where it was stopped."""
    from bench.datasets.scenes.drawing import draw_array

    pictures, texts = [], []
    drawing = ending(report, stop)
    for index in range(job.images):
        scene = sample_scene("pretrain", index, job.seed)
        pictures.append(torch.from_numpy(draw_array(scene)).permute(2, 0, 1))
        texts.append(captions(scene, "pretrain", index, job.seed))
        drawing("drawing", index + 1, job.images)
    torch.manual_seed(job.plan.seed)
    vision = PixVoxLM(PixVoxConfig.tiny()).vision
    _, shares = word_targets(texts)
    state = state_folder(job)
    log = Log(state)
    last = job.plan.steps
    for last, loss in pretrain(
        vision, torch.stack(pictures), shares, job.plan, folder=state, stop=stop
    ):
        log.write({"step": last, "loss": loss})
        report(f"loss {loss:.3f}", last, job.plan.steps)
    draw(state)
    if last < job.plan.steps:
        raise KeyboardInterrupt
    export(vision, job.output)


RUNNERS: dict[type, Callable[[Any, Progress, Stop], None]] = {
    CodecJob: run_codec,
    VisionJob: run_vision,
    CaptionerJob: run_captioner,
    SimilarityJob: run_similarity,
    PixVoxJob: run_pixvox,
}
