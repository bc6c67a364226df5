"""`pixvox doctor`: passes one item through every stage, and reports failures with their fix."""

import tempfile
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

from bench.commands.arguments import add_job, job_file
from bench.commands.options import Parser
from bench.common.errors import RunFailed, UserError
from bench.common.jobfile import JobFile
from bench.common.machinefaults import is_machines
from bench.common.progress import progress
from bench.common.text import clean, plural, reason_of
from bench.datasets.base import Item, no_items
from bench.jobs.spec import Job
from bench.systems.base import System

_ZOO_JOB = {
    "name": "doctor",
    "dataset": {"name": "scenes"},
    "systems": [
        {"kind": "pixvox", "label": "delay", "weights": "zoo:pixvox-tiny-delay"},
        {"kind": "pixvox", "label": "parallel", "weights": "zoo:pixvox-tiny-parallel"},
    ],
}
_ADVICE = "fix what the system reads, or remove it from the job"


def add_arguments(parser: Parser) -> None:
    """Adds the arguments of the command."""
    add_job(parser, "a job file; without one, the zoo", nargs="?")


def run(args: Namespace) -> int:
    """Examines the job."""
    file = job_file(args)
    if args.job is None and file.changes:
        raise UserError(f"doctor: name the job file that {file.changes[0]} is to change")
    return examine(file if args.job else None)


class _Check:
    """One item on its way through the stages."""

    def __init__(self, job: Job, folder: Path) -> None:
        self.job = job
        self.folder = folder

    def java(self) -> str:
        from bench.metrics.tokens import tokenise

        if tokenise(["Two dogs run."]) != ["two dogs run"]:
            raise RunFailed("the PTB tokeniser gives other tokens; reinstall pycocoevalcap")
        return "PTB tokeniser runs"

    def dataset(self) -> str:
        from bench.datasets.loading import load_dataset

        self.data = load_dataset(self.job.dataset)
        if not self.data.items:
            raise UserError(f"dataset: {no_items(self.data)}")
        self.item = self.data.items[0]
        return f"{self.data.name} {self.data.split}: {plural(len(self.data.items), 'image')}"

    def weights(self) -> str:
        from bench.jobs.expansion import expand
        from bench.jobs.preflight import check_classes
        from bench.metrics.loading import files_of

        cells = expand(self.job, self.data, [(asr, {}) for asr in self.job.asrs])
        self.cells = list(
            {c.speech_key: c for c in cells if c.asr is not None and c.source is None}.values()
        )
        files = files_of(self.data.items[: self.job.limit], self.job.caption)
        check_classes(cells, self.job.scoring.metrics, files)
        return f"{plural(len(cells), 'cell')}, codebooks and patterns fit"

    def generate(self) -> str:
        from bench.execution.actors import device

        self.rows = []
        for cell in self.cells:
            item = self._item(cell.system)
            with progress() as report:
                cell.system.prepare(report)
            keyed_rows = cell.system.generator(device()).generate([(item, (cell.variant,))])
            self.rows += [(cell, item, row) for _, row in keyed_rows]
        for cell, item, row in self.rows:
            if row.status != "ok":
                raise UserError(f"{cell.label}: {item.id}: {row.reason}; {_ADVICE}")
        return f"{self.item.id}: {plural(len(self.rows), 'speech', 'speeches')}"

    def _item(self, system: System) -> Item:
        """Returns the first item as the system gets it; `shuffled` gets another image's speech."""
        views = system.item_view(self.data.items)
        return self.item if views is None else views[self.item.id]

    def transcribe(self) -> str:
        from bench.execution.actors import TranscriberActor
        from bench.jobs.measurements import measurements_of
        from bench.store.rows import MeasuredRow, ToTranscribe, TranscriptRow

        asr = self.job.asrs[0]
        entries = tuple(each.entry for each in measurements_of(self.job.scoring.metrics))
        metrics = tuple(map(str, entries))
        transcriber = TranscriberActor(asr, 1, entries)
        texts = []
        for number, (cell, item, row) in enumerate(self.rows):
            entry = ToTranscribe(row=row, item=item, keep=True, metrics=metrics)
            [done] = transcriber.work((cell.system, "whole", [entry]))
            (self.folder / f"{number}.wav").write_bytes(done.wav)
            rows: list[TranscriptRow | MeasuredRow] = [done.row, *done.measured]
            if failed := [row.reason for row in rows if row.status != "ok"]:
                raise UserError(f"{cell.label}: {item.id}: {failed[0]}; {_ADVICE}")
            texts.append(done.row.transcript)
        # A job of texts needs no ASR.
        self.transcripts = texts or [self.item.captions[0].text]
        return f"{asr.label} transcribed {texts[0]!r}" if texts else "nothing to transcribe"

    def score(self) -> str:
        from bench.metrics.base import CorpusMetric, ImageMetric, Metric
        from bench.metrics.counted import joined, statistics_of
        from bench.metrics.loading import files_of, metrics_of
        from bench.metrics.tokens import tokenise

        # A caption and an empty text are added to the transcript, because a metric must count
        # several items.
        items = self.data.items[:3]
        texts = [self.transcripts[0], items[-1].captions[0].text, ""][: len(items)]
        references = {item.id: tokenise([c.text for c in item.captions]) for item in items}
        inputs = {
            "references": (dict(zip(references, tokenise(texts), strict=True)), references),
            "caption": (
                dict(zip(references, texts, strict=True)),
                {item.id: [item.captions[0].text] for item in items},
            ),
        }
        metrics: list[CorpusMetric] = []
        parts = []
        for metric in metrics_of(self.job.scoring.metrics):
            # The others have measured the speech, or need nothing but rows.
            if isinstance(metric, ImageMetric):
                files = files_of(items, self.job.caption)
                with metric.opened(references, files, self.folder) as count:
                    parts.append(statistics_of(metric, count, *inputs["references"]))
                metrics.append(metric)
            elif isinstance(metric, Metric) and metric.against in inputs:
                metrics.append(metric)
                parts.append(statistics_of(metric, metric.statistics, *inputs[metric.against]))
        counted = joined(metrics, parts)
        counted.corpus()
        first = {name: values[0] for name, values in counted.each().items()}
        return ", ".join(f"{name} {score:.1f}" for name, score in first.items())

    def write(self) -> str:
        from bench.store.ledger import Ledger
        from bench.store.rows import GENERATED_SCHEMA, SpeechRow, frame

        ledger = Ledger(self.folder / "ledger")
        rows = [row for *_, row in self.rows[:1]] or [SpeechRow(item=self.item.id, status="ok")]
        ledger.append("generated", "doctor", frame(rows, GENERATED_SCHEMA))
        if ledger.rows("generated", "doctor", GENERATED_SCHEMA).height != 1:
            raise RunFailed("a row that was written to the ledger could not be read back")
        return "row committed and read back"


def _failed(error: Exception) -> int:
    """Returns the exit code of an expected failure: 2 for the user's input, 3 for the rest."""
    from pixvox.digests import WeightsError

    return 2 if isinstance(error, UserError | WeightsError) else 3


def examine(file: JobFile | None) -> int:
    """Prints one line a stage; returns 0 if all work, and after the first failure 2 or 3.

    A bug raises its exception.
    """
    job: Job = file.read(Job) if file else Job.model_validate(_ZOO_JOB)
    with tempfile.TemporaryDirectory(prefix="pixvox-doctor-") as folder:
        return _examined(_Check(job, Path(folder)))


def _examined(check: _Check) -> int:
    from rich.console import Console
    from rich.markup import escape

    from pixvox.digests import WeightsError

    console = Console(highlight=False, soft_wrap=True)
    stages: list[tuple[str, Callable[[], str]]] = [
        ("java", check.java),
        ("dataset", check.dataset),
        ("weights", check.weights),
        ("generate", check.generate),
        ("transcribe", check.transcribe),
        ("score", check.score),
        ("write", check.write),
    ]
    for name, stage in stages:
        try:
            console.print(f"[green]ok[/green]      {name:10} {escape(stage())}")
        except (UserError, WeightsError, RunFailed, OSError, ImportError) as error:
            reason = clean(" ".join(str(error).split()))
            console.print(f"[red]failed[/red]  {name:10} {escape(reason)}")
            return _failed(error)
        except (MemoryError, RuntimeError) as error:
            if not is_machines(error, reason_of(error)):
                raise
            console.print(f"[red]failed[/red]  {name:10} {escape(reason_of(error))}")
            return 3
    return 0
