"""Trains a PixVoxLM's similarity head, which compares speech and images."""

from functools import partial

import torch

from bench.common.errors import UserError
from bench.common.progress import Progress
from bench.execution.cluster import find_cluster
from bench.execution.spreading import compute_on_ray
from bench.training.data import Preparing, spoken_captions
from bench.training.keeping import state_folder
from bench.training.log import Log, draw
from bench.training.pixvox import export
from bench.training.spec import SimilarityJob
from bench.training.start import changed
from bench.training.stop import Stop, ending
from pixvox.codec.encodec import Codec
from pixvox.codec.facts import fitting_codec
from pixvox.configfile import pixvox_config
from pixvox.modeling import PixVoxLM
from pixvox.training.similarity import train_similarity
from pixvox.weights import resolve


def run_similarity(job: SimilarityJob, report: Progress, stop: Stop) -> None:
    """Trains and exports the model with its head; raises KeyboardInterrupt where it was stopped.

    Raises UserError for a model without a null image and for unusable data, WeightsError for
    unusable weights.
    """
    if job.threads:
        torch.set_num_threads(job.threads)
    model, codec = _with_head(job)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    compute = compute_on_ray(find_cluster(None))
    how = Preparing(report=ending(report, stop), compute=compute)
    split = partial(spoken_captions, job.data, codec=codec, model=model)
    # Captions with more steps than the model has positions are skipped.
    data = split("train", frozen=True, skip_too_long=True, how=how)
    held = split("val", frozen=True, skip_too_long=True, how=how)
    folder = state_folder(job)
    log = Log(folder)
    last, share_text = 0, ""
    for step in train_similarity(
        model, data, held, job.plan, folder=folder, stop=stop, report=how.report
    ):
        share, last = step.found, step.step
        log.write({"step": last, "loss": step.loss, "found": share})
        if share is not None:
            share_text = f", {100 * share:.0f}% of validation speech finds its image"
        report(f"loss {step.loss:.3f}{share_text}", last, job.plan.steps)
    draw(folder)
    if 0 < last < job.plan.steps:
        raise KeyboardInterrupt
    export(model.cpu(), job.output)


def _with_head(job: SimilarityJob) -> tuple[PixVoxLM, Codec]:
    """Returns the model that the job starts from with a new head, and its codec."""
    folder = resolve(job.start_from)
    config = pixvox_config(folder)
    if not config.null_image:
        raise UserError(
            f"start_from: {job.start_from} has no null image, over which speech is encoded; train "
            "it with image_dropout"
        )
    codec, _ = fitting_codec(job.start_from, config, job.codec)
    model = changed(folder, config, job.plan.seed, similarity_size=job.size)
    return model, Codec.load(codec, config.bandwidth)
