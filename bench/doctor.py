"""`pixvox doctor`: pushes one item through every stage and says what is missing and the mend."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from bench.errors import RunFailed, UserError
from bench.spec import Job
from bench.yamlfile import parse

_ZOO_JOB = {
    "name": "doctor",
    "dataset": {"name": "scenes"},
    "systems": [
        {"kind": "pixvox", "label": "delay", "weights": "zoo:pixvox-tiny-delay"},
        {"kind": "pixvox", "label": "parallel", "weights": "zoo:pixvox-tiny-parallel"},
    ],
}


class _Check:
    """One item on its way through the stages."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.folder = Path(tempfile.mkdtemp(prefix="pixvox-doctor-"))

    def java(self) -> str:
        from bench.metrics.tokens import tokenise

        if tokenise(["Two dogs run."]) != ["two dogs run"]:
            raise RunFailed("the PTB tokeniser gives other tokens; reinstall pycocoevalcap")
        return "PTB tokeniser runs"

    def dataset(self) -> str:
        from bench.run import load_dataset

        self.data = load_dataset(self.job)
        self.item = self.data.items[0]
        return f"{self.data.name} {self.data.split}: {len(self.data.items)} images"

    def weights(self) -> str:
        from bench.expansion import expand

        cells = expand(self.job, self.data, [(asr, {}) for asr in self.job.asrs])
        self.cells = list(
            {c.speech_key: c for c in cells if c.asr is not None and c.source is None}.values()
        )
        return f"{len(cells)} cells, codebooks and patterns fit"

    def speak(self) -> str:
        from bench.systems.speakers import make_speaker

        self.rows = []
        for cell in self.cells:
            made = make_speaker(cell.system, "cpu").speak([(self.item, (cell.variant,))])
            self.rows += [(cell.system, row) for _, row in made]
        failed = [row.reason for _, row in self.rows if row.status != "ok"]
        if failed:
            raise RunFailed(failed[0])
        return f"{self.item.id}: {len(self.rows)} speeches"

    def listen(self) -> str:
        from bench.cluster.actors import ListenerActor
        from bench.listening.choice import locate
        from bench.rows import ToHear

        asr = self.job.asrs[0]
        listener = ListenerActor(asr, str(locate(asr)), 1)
        texts = []
        for number, (system, row) in enumerate(self.rows):
            keep = self.folder / f"{number}.wav"
            heard = listener.work((system, "whole", [ToHear(row, self.item, keep)]))[0]
            if heard.status != "ok":
                raise RunFailed(heard.reason)
            texts.append(heard.transcript)
        self.transcripts = texts
        return f"{asr.label} heard {texts[0]!r}"

    def score(self) -> str:
        from bench.metrics.meteor import Meteor
        from bench.metrics.meteor import meteor as score
        from bench.metrics.tokens import tokenise

        references = {self.item.id: tokenise([c.text for c in self.item.captions])}
        with Meteor() as meteor:
            hypothesis = tokenise(self.transcripts[:1])[0]
            found = meteor.statistics({self.item.id: hypothesis}, references)
        return f"METEOR {score(found.sum(0))['METEOR']:.1f}"

    def write(self) -> str:
        from bench.ledger import Ledger
        from bench.rows import SPOKEN_SCHEMA, frame

        ledger = Ledger(self.folder / "ledger")
        rows = [row for _, row in self.rows[:1]]
        ledger.append("spoken", "doctor", frame(rows, SPOKEN_SCHEMA))
        if ledger.rows("spoken", "doctor", SPOKEN_SCHEMA).height != 1:
            raise RunFailed("the row did not come back")
        return "row committed and read back"


def examine(path: Path | None) -> int:
    """Prints one line a stage; 0 when all work, 1 at the first that does not."""
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False)
    job: Job = parse(path, Job) if path else Job.model_validate(_ZOO_JOB)
    check = _Check(job)
    stages: list[tuple[str, Callable[[], str]]] = [
        ("java", check.java),
        ("dataset", check.dataset),
        ("weights", check.weights),
        ("speak", check.speak),
        ("listen", check.listen),
        ("score", check.score),
        ("write", check.write),
    ]
    for name, stage in stages:
        try:
            console.print(f"[green]ok[/green]      {name:8} {escape(stage())}")
        except (UserError, RunFailed, RuntimeError, ValueError, OSError, ImportError) as error:
            console.print(f"[red]missing[/red] {name:8} {escape(' '.join(str(error).split()))}")
            return 1
    return 0
