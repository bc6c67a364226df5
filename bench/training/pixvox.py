"""A PixVoxLM's training on Ray Train: the driver prepares and watches, the workers train."""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from bench.common.errors import RunFailed, UserError
from bench.datasets.base import Report
from bench.execution.actors import device
from bench.execution.cluster import (
    find_cluster,
    machines,
    most_gpus,
    names_of,
    placed,
    print_ray,
)
from bench.execution.session import ray_session
from bench.training.data import spoken_captions
from bench.training.log import Log, draw, last_row
from bench.training.pace import Pace
from bench.training.spec import PixVoxJob, TrainingJob
from bench.training.start import new_model, origin, trained_on
from bench.training.stop import Stop, ending
from pixvox.codec.encodec import Codec
from pixvox.images import normalise
from pixvox.modeling import PixVoxLM
from pixvox.training.captions import SpokenCaptions
from pixvox.training.loop import check_resumable, train

_RETRIES = 3
"""How often Ray Train starts the workers again after one died; they resume from the checkpoint."""

_STOP = "stop"
"""A file in the state's folder, which all workers share: its being there ends the training."""


def state_folder(job: TrainingJob) -> Path:
    """Where a training keeps its checkpoints and log, beside its output."""
    return job.output.with_name(job.output.name + ".training")


def export(model: PreTrainedModel, folder: Path) -> None:
    """Saves as float16 safetensors: half the bytes, and loaded as float32 for use."""
    model.half().save_pretrained(folder)
    model.float()


def prepare(job: PixVoxJob, report: Report) -> tuple[PixVoxLM, SpokenCaptions, SpokenCaptions]:
    """The model and both splits; a second call finds everything that takes long in the caches.

    Raises UserError where the judge's decoding does not fit the model.
    """
    codec = Codec.load(job.codec, job.bandwidth)
    model = new_model(job, codec)
    if job.judge is not None:
        config = model.config
        if unfit := job.judge.decoding.unfit(config.num_codebooks, config.null_image):
            raise UserError(f"judge: {unfit}")
    frozen, skip = not job.plan.train_vision, job.too_long == "skip"
    mirrored = job.plan.mirror
    data = spoken_captions(job.data, "train", codec, model, frozen, skip, report, mirrored)
    held = spoken_captions(job.data, "val", codec, model, frozen, skip, report)
    _begin_null_image(model, data)
    return model, data, held


@torch.no_grad()
def _begin_null_image(model: PixVoxLM, data: SpokenCaptions) -> None:
    """Has a null image that was never trained start as the mean of up to 1000 training images."""
    if model.null_image is None or model.null_image.any():
        return
    some = torch.from_numpy(data.images[:1000].copy())
    if some.dtype == torch.uint8:
        scaling = model.config.scaling
        each = torch.stack([model.encode_images(normalise(one, scaling)[None])[0] for one in some])
    else:
        each = some.float()
    model.null_image.copy_(each.mean(0))


def work(job: PixVoxJob, device: torch.device, rank: int) -> None:
    """One worker's whole training; the first writes log, checkpoints and, in the end, weights."""
    model, data, held = prepare(job, lambda *_: None)
    model.to(device)
    folder = state_folder(job)
    log = Log(folder)
    track = _tracker(job, folder) if rank == 0 else None
    ended, judged = True, None
    stop = (folder / _STOP).exists if rank == 0 else lambda: False
    judge = None
    if job.judge is not None:
        from bench.training.judge import SpeechJudge

        judge = SpeechJudge(job, job.data.half("val", lambda *_: None), torch.get_num_threads())
    pace = Pace(model, data, job.plan) if rank == 0 else None
    for step in train(model, data, held, job.plan, folder, stop, judge, origin(job)):
        ended = step.last
        judged = step.scores or judged
        if pace is not None:
            row = asdict(step) | pace.of(step) | {"judged": judged}
            del row["rows"], row["seconds"]
            log.write(row)
            if track:
                track(row)
    if rank == 0 and ended:
        model.config.trained_on = trained_on(job)
        export(model.cpu(), job.output)


def _tracker(job: PixVoxJob, folder: Path) -> Callable[[dict[str, Any]], None] | None:
    if job.tracking is None:
        return None
    from tensorboardX import SummaryWriter

    writer = SummaryWriter(str(folder / "tensorboard"))

    def track(row: dict[str, Any]) -> None:
        writer.add_scalar("loss/train", row["loss"], row["step"])
        for q, loss in enumerate(row["validation"] or ()):
            writer.add_scalar(f"loss/validation codebook {q + 1}", loss, row["step"])
        for name, score in (row["scores"] or {}).items():
            writer.add_scalar(f"speech/{name}", score, row["step"])

    return track


def _worker(config: dict[str, Any]) -> None:
    """What Ray Train runs in every worker."""
    import ray.train
    from ray.train.torch import get_device

    torch.set_num_threads(config["threads"])
    # Ray Train would compute on the CPU where PyTorch cannot use the GPU that Ray assigned.
    device()
    job = PixVoxJob.model_validate(config["job"])
    work(job, get_device(), ray.train.get_context().get_world_rank())


def _placed(job: PixVoxJob) -> PixVoxJob:
    """The job with whole paths: workers do not run in the driver's folder."""
    local = {
        key: str(Path(value).absolute())
        for key in ("codec", "blip", "vision", "start_from")
        if (value := getattr(job, key)) and Path(value).exists()
    }
    paths: dict[str, Any] = {"output": job.output.absolute(), "data": job.data.placed()}
    paths["codec_name"] = job.codec_name or job.codec
    return job.model_copy(update=paths | local)


def run_pixvox(job: PixVoxJob, report: Report, stop: Stop) -> None:
    """Trains and exports a PixVoxLM; the same call resumes a killed one.

    Raises UserError for weights or data that cannot be used, RunFailed where training failed, and
    KeyboardInterrupt where it was stopped.
    """
    job = _placed(job)
    folder = state_folder(job)
    (folder / _STOP).unlink(missing_ok=True)
    address = find_cluster(job.address)
    # In the driver first, so that bad input is one line and caches are written once.
    model, data, _ = prepare(job, ending(report, stop))
    check_resumable(model, data, job.plan, folder=folder, origin=origin(job))
    del model, data
    os.environ["RAY_TRAIN_V2_ENABLED"] = "1"
    with ray_session(address):
        import ray

        has = machines(ray.nodes())
        print_ray(address, has)
        scaled = min(job.workers, most_gpus()) if address else 0
        gpus, cores = max(has.gpu_count, scaled), has.cores
        available = gpus or cores
        if job.workers > available:
            what = "GPUs" if gpus else "cores"
            raise UserError(f"workers: {job.workers} asked for, {available} {what} are here")
        threads = job.threads or max(1, cores // job.workers)
        failure: list[BaseException] = []
        thread = threading.Thread(
            target=_fit, args=(job, gpus > 0, threads, folder, failure), daemon=True
        )
        where = _Where(job.workers, address)
        thread.start()
        try:
            while thread.is_alive():
                thread.join(0.5)
                where.print_once()
                _report_last(folder, job.plan.steps, report)
                if stop():
                    (folder / _STOP).touch()
        finally:
            draw(folder)
    stopped = (folder / _STOP).exists()
    (folder / _STOP).unlink(missing_ok=True)
    row = last_row(folder / "log.jsonl")
    if stopped and not failure and (row is None or not row["last"]):
        raise KeyboardInterrupt
    if failure:
        reason = " ".join(str(failure[0]).split())
        raise RunFailed(f"training failed; the same command resumes it: {reason}")


class _Where:
    """Prints which nodes the workers are on, once Ray Train has placed them.

    It reserves their places as one placement group, with a bundle for each.
    """

    def __init__(self, workers: int, address: str | None) -> None:
        from ray.util import placement_group_table

        self._table = placement_group_table
        self._workers, self._address = workers, address
        self._others = set(self._table())

    def print_once(self) -> None:
        """Prints the line where the workers are placed, and has not been printed before."""
        import ray

        for name, group in self._table().items() if self._workers else ():
            nodes = list(group["bundles_to_node_id"].values())
            is_ours = name not in self._others and len(nodes) == self._workers
            if is_ours and group["state"] == "CREATED":
                names = names_of(ray.nodes()) if self._address else {}
                print(f"workers: {placed({'worker': nodes}, names)}")
                self._workers = 0
                return


def _fit(
    job: PixVoxJob, gpu: bool, threads: int, folder: Path, failure: list[BaseException]
) -> None:
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    trainer = TorchTrainer(
        _worker,
        train_loop_config={"job": job.model_dump(mode="json"), "threads": threads},
        scaling_config=ScalingConfig(num_workers=job.workers, use_gpu=gpu),
        run_config=RunConfig(
            name=f"run-{int(time.time())}",
            storage_path=str((folder / "ray").absolute()),
            failure_config=FailureConfig(max_failures=_RETRIES),
        ),
    )
    try:
        trainer.fit()
    except Exception as error:
        # For the driver's own thread, which ends the command with it.
        failure.append(error)


def _report_last(folder: Path, steps: int, report: Report) -> None:
    row = last_row(folder / "log.jsonl")
    if row is not None:
        scores = row.get("judged") or {}
        rated = "".join(f", {name} {score:.1f}" for name, score in scores.items())
        # Absent in the log of a training that an earlier version began.
        speed = ""
        if "units_per_second" in row:
            speed = f", {row['units_per_second']:,.0f} units/s"
            speed += f", {row['of_product']:.0%} of the product"
        report(f"loss {row['loss']:.3f}{rated}{speed}", row["step"], steps)
