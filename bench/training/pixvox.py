"""Trains a PixVoxLM with Ray Train: the driver prepares the data, and workers train."""

import os
import threading
import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from bench.asr.base import Asr
from bench.common.errors import RunFailed, UserError
from bench.common.progress import Progress
from bench.common.spread import Compute, compute_here
from bench.common.text import reason_of
from bench.datasets.base import Item
from bench.execution.actors import device
from bench.execution.cluster import (
    describe_placement,
    find_cluster,
    most_gpus,
    names_of,
    print_ray,
    sum_resources,
)
from bench.execution.nodefiles import (
    NodeFiles,
    session_folder,
    take_places,
    weights_files,
    whole_files,
)
from bench.execution.ownmodules import own_modules
from bench.execution.parcels import pack, unpack
from bench.execution.session import ray_session
from bench.execution.spreading import compute_on_ray
from bench.training.data import Preparing, spoken_captions
from bench.training.keeping import (
    STOP,
    ByPost,
    Given,
    Keeper,
    Logged,
    OwnDisk,
    PostOffice,
    Sent,
    checkpoint_of,
    keep_post,
    packed,
    state_folder,
    unpacked_captions,
    worker_folder,
)
from bench.training.log import draw, last_row
from bench.training.pace import Pace
from bench.training.spec import PixVoxJob
from bench.training.start import new_model, origin, trained_on
from bench.training.stop import Stop, ending
from pixvox.codec.encodec import Codec
from pixvox.images import normalise
from pixvox.modeling import PixVoxLM
from pixvox.training.captions import SpokenCaptions
from pixvox.training.loop import check_resumable, train

_RETRIES = 3
"""How often Ray Train restarts the workers after one has died; they resume from the checkpoint."""

_OFFICE = "pixvox-training"
"""The Ray name of the PostOffice, by which workers find it."""


def export(model: PreTrainedModel, folder: Path) -> None:
    """Saves a model as float16 safetensors; it is loaded as float32 for use."""
    model.half().save_pretrained(folder)
    model.float()


def prepare(
    job: PixVoxJob, report: Progress, compute: Compute = compute_here
) -> tuple[PixVoxLM, SpokenCaptions, SpokenCaptions]:
    """Returns the model and both splits, whose units and image states are cached.

    Raises UserError where the judge's decoding does not fit the model.
    """
    codec = Codec.load(job.codec, job.bandwidth)
    model = new_model(job, codec)
    if job.judge is not None:
        config = model.config
        if unfit := job.judge.decoding.unfit(config.num_codebooks, config.null_image):
            raise UserError(f"judge: {unfit}")
    frozen, skip = not job.plan.train_vision, job.too_long == "skip"
    how = Preparing(report=report, compute=compute)
    split = partial(spoken_captions, job.data, codec=codec, model=model)
    data = split(
        "train", frozen=frozen, skip_too_long=skip, how=replace(how, mirrored=job.plan.mirror)
    )
    held = split("val", frozen=frozen, skip_too_long=skip, how=how)
    _begin_null_image(model, data)
    return model, data, held


@torch.no_grad()
def _begin_null_image(model: PixVoxLM, data: SpokenCaptions) -> None:
    """Sets a null image that was never trained to the mean of at most 1000 training images."""
    if model.null_image is None or model.null_image.any():
        return
    sample = torch.from_numpy(data.images[:1000].copy())
    if sample.dtype == torch.uint8:
        scaling = model.config.scaling
        each = torch.stack(
            [model.encode_images(normalise(image, scaling)[None])[0] for image in sample]
        )
    else:
        each = sample.float()
    model.null_image.copy_(each.mean(0))


def work(job: PixVoxJob, device: torch.device, rank: int) -> None:
    """Runs one worker's training; the first worker writes log, checkpoints and final weights."""
    model, data, held = prepare(job, lambda *_: None)
    given = Given(model, data, held, _judged(job))
    _train(job, given, OwnDisk(job), device=device, rank=rank)


def _judged(job: PixVoxJob) -> tuple[Item, ...]:
    """Returns the validation items whose speech a judge scores; none without a judge."""
    if job.judge is None:
        return ()
    return tuple(job.data.half("val", lambda *_: None)[: job.judge.images])


def _judging(job: PixVoxJob) -> list[Asr]:
    """Returns the ASR that transcribes for a judge; none without a judge."""
    return [] if job.judge is None else [job.judge.asr]


def _train(
    job: PixVoxJob, given: Given, keeper: Keeper, *, device: torch.device, rank: int
) -> None:
    """Runs one worker's steps; the first worker passes rows and weights to the keeper."""
    model, data, is_first = given.model, given.data, rank == 0
    model.to(device)
    ended, judged = True, None
    judge = None
    if job.judge is not None:
        from bench.training.judge import SpeechJudge

        judge = SpeechJudge(job, given.judged, torch.get_num_threads())
    pace = Pace(model, data, job.plan) if is_first else None
    stop = keeper.stopped if is_first else lambda: False
    folder, start = keeper.folder, origin(job)
    for step in train(
        model, data, given.held, job.plan, folder=folder, stop=stop, judge=judge, origin=start
    ):
        ended = step.last
        judged = step.scores or judged
        if pace is not None:
            keeper.sync()
            row = asdict(step) | pace.of(step) | {"judged": judged}
            del row["rows"], row["seconds"]
            keeper.log(row)
    if is_first:
        keeper.sync()
        if ended:
            model.config.trained_on = trained_on(job)
            keeper.export(partial(export, model.cpu()))


def _worker(config: dict[str, Any]) -> None:
    """Runs in every worker, called by Ray Train."""
    import ray
    import ray.train
    from ray.train.torch import get_device

    torch.set_num_threads(config["threads"])
    # Raises where PyTorch cannot use the assigned GPU; Ray Train would use the CPU instead.
    device()
    rank = ray.train.get_context().get_world_rank()
    if config["job"] is not None:
        # Ray Train has changed the current folder; a judge's ASR may be in the driver's.
        os.chdir(config["folder"])
        work(PixVoxJob.model_validate(config["job"]), get_device(), rank)
        return
    office = ray.get_actor(_OFFICE)
    sent, checkpoint = ray.get(office.begin.remote())
    take_places(sent.files, sent.home)
    with worker_folder() as folder, unpack(sent.parcel, folder / "given") as (job, judged):
        held: Given = ray.get(sent.given)
        given = Given(
            held.model, unpacked_captions(held.data), unpacked_captions(held.held), judged
        )
        keeper = ByPost(office, checkpoint, folder / "state")
        _train(job, given, keeper, device=get_device(), rank=rank)


def _placed(job: PixVoxJob) -> PixVoxJob:
    """Returns the job with absolute paths, because workers do not run in the driver's folder."""
    local = {
        key: str(Path(value).absolute())
        for key in ("codec", "blip", "vision", "start_from")
        if (value := getattr(job, key)) and Path(value).exists()
    }
    paths: dict[str, Any] = {"output": job.output.absolute(), "data": job.data.placed()}
    paths["codec_name"] = job.codec_name or job.codec
    return job.model_copy(update=paths | local)


def run_pixvox(job: PixVoxJob, report: Progress, stop: Stop) -> None:
    """Trains and exports a PixVoxLM; the same call resumes a killed training.

    Raises UserError for weights or data that cannot be used, RunFailed where training failed, and
    KeyboardInterrupt where it was stopped.
    """
    job = _placed(job)
    folder = state_folder(job)
    (folder / STOP).unlink(missing_ok=True)
    address = find_cluster(job.address)
    # In the driver first, so that invalid input gives one line and caches are written once.
    model, data, held = prepare(job, ending(report, stop), compute_on_ray(address))
    check_resumable(model, data, job.plan, folder=folder, origin=origin(job))
    given = Given(model, data, held, _judged(job)) if address else None
    del model, data, held
    os.environ["RAY_TRAIN_V2_ENABLED"] = "1"
    with ray_session(address, own_modules([], _judging(job)) if address else ()):
        import ray

        has = sum_resources(ray.nodes())
        print_ray(address, has)
        scaled = min(job.workers, most_gpus()) if address else 0
        gpus, cores = max(has.gpu_count, scaled), has.cores
        available = gpus or cores
        if job.workers > available:
            what = "GPUs" if gpus else "cores"
            raise UserError(f"workers: {job.workers} asked for, {available} {what} are here")
        threads = job.threads or max(1, cores // job.workers)
        post = _Post(job, given) if given is not None else None
        failure: list[BaseException] = []
        thread = threading.Thread(
            target=_fit,
            args=(job, gpus > 0, threads, post is None),
            kwargs={"failure": failure},
            daemon=True,
        )
        where = _Where(job.workers, address)
        thread.start()
        stopped = False
        try:
            while thread.is_alive():
                thread.join(0.5)
                where.print_once()
                if post is not None:
                    post.keep()
                _report_last(folder, job.plan.steps, report)
                if stop() and not stopped:
                    stopped = True
                    if post is not None:
                        post.stop()
                    else:
                        (folder / STOP).touch()
            if post is not None:
                post.keep()
        finally:
            draw(folder)
    (folder / STOP).unlink(missing_ok=True)
    row = last_row(folder / "log.jsonl")
    if stopped and not failure and (row is None or not row["last"]):
        raise KeyboardInterrupt
    if failure:
        reason = " ".join(str(failure[0]).split())
        raise RunFailed(f"training failed; the same command resumes it: {reason}")


class _Post:
    """The driver's side of a training whose workers do not have its files."""

    def __init__(self, job: PixVoxJob, given: Given) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        weights = weights_files([job.codec, *([job.start_from] if job.start_from else [])])
        files = NodeFiles(weights | whole_files([], _judging(job)))
        sent = Sent(
            given=ray.put(replace(given, data=packed(given.data), held=packed(given.held))),
            parcel=pack((job, given.judged), [item.image for item in given.judged]),
            files=files.sent(),
            home=files.home,
        )
        office = ray.remote(num_cpus=0)(PostOffice).options(
            name=_OFFICE,
            scheduling_strategy=NodeAffinitySchedulingStrategy(files.home, soft=False),
        )
        self._office: Any = office.remote(sent, checkpoint_of(state_folder(job)))
        self._job, self._log = job, Logged(job)

    def keep(self) -> None:
        """Writes the rows and files that were sent since the last call."""
        import ray
        from ray.exceptions import RayError

        try:
            post = ray.get(self._office.take.remote())
        except RayError as error:
            raise RunFailed(
                f"training failed; the same command resumes it: {reason_of(error)}"
            ) from error
        keep_post(post, self._job, self._log)

    def stop(self) -> None:
        """Ends the training after the current step."""
        self._office.stop.remote()


class _Where:
    """Prints which nodes the workers are on, once Ray Train has placed them.

    Ray Train reserves a placement group with a bundle for each worker.
    """

    def __init__(self, workers: int, address: str | None) -> None:
        from ray.util import placement_group_table

        self._table = placement_group_table
        self._workers, self._address = workers, address
        self._others = set(self._table())

    def print_once(self) -> None:
        """Prints the line once, when the workers have been placed."""
        import ray

        for name, group in self._table().items() if self._workers else ():
            nodes = list(group["bundles_to_node_id"].values())
            is_ours = name not in self._others and len(nodes) == self._workers
            if is_ours and group["state"] == "CREATED":
                names = names_of(ray.nodes()) if self._address else {}
                print(f"workers: {describe_placement({'worker': nodes}, names)}")
                self._workers = 0
                return


def _fit(
    job: PixVoxJob, gpu: bool, threads: int, on_own_disk: bool, *, failure: list[BaseException]
) -> None:
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    trainer = TorchTrainer(
        _worker,
        train_loop_config={
            "job": job.model_dump(mode="json") if on_own_disk else None,
            "folder": str(Path.cwd()),
            "threads": threads,
        },
        scaling_config=ScalingConfig(num_workers=job.workers, use_gpu=gpu),
        run_config=RunConfig(
            name=f"run-{int(time.time())}",
            storage_path=str(_ray_folder(job, on_own_disk)),
            failure_config=FailureConfig(max_failures=_RETRIES),
        ),
    )
    try:
        trainer.fit()
    except Exception as error:
        # The driver's main thread ends the command with this error.
        failure.append(error)


def _ray_folder(job: PixVoxJob, on_own_disk: bool) -> Path:
    """Returns the folder for Ray Train's own files; in a cluster, one on the driver's node."""
    return state_folder(job).absolute() / "ray" if on_own_disk else session_folder() / "train"


def _report_last(folder: Path, steps: int, report: Progress) -> None:
    row = last_row(folder / "log.jsonl")
    if row is not None:
        scores = row.get("judged") or {}
        rated = "".join(f", {name} {score:.1f}" for name, score in scores.items())
        # Rows of earlier versions lack this field.
        speed = ""
        if "units_per_second" in row:
            speed = f", {row['units_per_second']:,.0f} units/s"
            speed += f", {row['of_product']:.0%} of the product"
        report(f"loss {row['loss']:.3f}{rated}{speed}", row["step"], steps)
