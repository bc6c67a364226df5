"""`pixvox runs push`: sends a finished run's scores to a model card, with its tables."""

import json
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.commands.arguments import add_runs
from bench.commands.options import Parser, run_name, weights
from bench.commands.runfolders import find, state_of
from bench.common.atomic import disk_errors
from bench.common.errors import UserError
from bench.common.text import clean, plural
from bench.common.yamlfile import read_small
from bench.report.card import KEY, Source, updated_card
from bench.store.hubrepo import CARD, HubFile, HubRepo, Kind, Snapshot, check_name

_TABLES = (".md", ".json", ".parquet", ".yaml")
_MOST_BYTES = 256 * 1024 * 1024
_AT_ONCE = 500
"""Files of speech in one commit."""


def add_arguments(parser: Parser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("run", type=run_name, help="a finished run: its name or folder")
    parser.add_argument("repo", type=weights, metavar="REPO", help="USER/NAME on the hub")
    parser.add_argument(
        "--kind",
        dest="repo_type",
        choices=("model", "dataset"),
        default="model",
        help="REPO's kind (%(default)s)",
    )
    parser.add_argument("--private", action="store_true", help="for a new repository")
    parser.add_argument("--speech", action="store_true", help="send the WAV files too")
    parser.add_argument("--yes", action="store_true", help="send; without, only say what")
    add_runs(parser)


def run(args: Namespace) -> int:
    """Sends the run, or prints what would be sent."""
    options = PushOptions(
        runs=args.runs,
        run=args.run,
        repo=args.repo,
        repo_type=args.repo_type,
        private=args.private,
        speech=args.speech,
        send=args.yes,
    )
    return push(options)


@dataclass(frozen=True, kw_only=True)
class PushOptions:
    """What to send: the run of this name or folder below `runs`, to the repository `repo`.

    Nothing is sent without `send`. `private` is for a repository that does not exist yet.
    """

    runs: Path
    run: str
    repo: str
    repo_type: Kind = "model"
    private: bool = False
    speech: bool = False
    send: bool = False


def push(options: PushOptions) -> int:
    """Sends a run to the hub, or prints what would be sent; returns 0 in both cases.

    Raises UserError for an unfinished run and for a refusal of the hub, and RunFailed if the hub
    does not answer.
    """
    check_name(options.repo)
    with disk_errors(options.runs):
        run = find(options.runs, options.run)
        state = state_of(run)
        if state != "done":
            raise UserError(f"{run}: the run is {state}; run its job to its end first")
        files = list(_results(run, f"pixvox/{run.name}"))
        speech = list(_speech(run, f"pixvox/{run.name}")) if options.speech else []
        entries = _entries(run) if options.repo_type == "model" else []
        if not options.send:
            _print_plan(options, [*files, *speech], entries)
            return 0
        repo = HubRepo(options.repo, options.repo_type)
        repo.ensure(options.private)
        message = f"pixvox: results of the run {run.name}"
        for start in range(0, len(speech), _AT_ONCE):
            repo.send(speech[start : start + _AT_ONCE], f"{message}, speech")
        before = repo.read()
        if options.repo_type == "model":
            files.append(_card(before, entries, options.repo, run.name))
        removed = _outdated(before, [*files, *speech], f"pixvox/{run.name}")
        commit = repo.send(files, message, removed=removed, parent=before.commit)
    files += speech
    size = sum(file.size for file in files)
    what = f"{plural(len(files), 'file')}, {size:,} bytes"
    print(clean(f"{options.repo}: {what}, {_tree(options, run.name)} (commit {commit[:8]})"))
    return 0


def _results(run: Path, place: str) -> Iterator[HubFile]:
    """Yields tables, scores and rows; the summary without the job, which may name local folders."""
    for path in sorted((run / "tables").iterdir()):
        if path.suffix in _TABLES:
            yield HubFile(f"{place}/tables/{path.name}", path)
    for name in ("rows.parquet", "scores.parquet"):
        yield HubFile(f"{place}/{name}", run / name)
    try:
        summary: dict[str, Any] = json.loads(read_small(run / "summary.json", _MOST_BYTES))
        summary.pop("job")
    except (ValueError, KeyError, AttributeError) as error:
        raise UserError(f"{run / 'summary.json'}: damaged; run the job again") from error
    yield HubFile(f"{place}/summary.json", f"{json.dumps(summary, indent=1)}\n".encode())


def _speech(run: Path, place: str) -> Iterator[HubFile]:
    for path in sorted((run / "speech").rglob("*.wav")):
        yield HubFile(f"{place}/{path.relative_to(run).as_posix()}", path)


def _entries(run: Path) -> list[dict[str, Any]]:
    """Returns the run's model-index."""
    import yaml

    path = run / "tables" / "model-index.yaml"
    try:
        entries: list[dict[str, Any]] = yaml.safe_load(read_small(path, _MOST_BYTES))[KEY]
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise UserError(f"{path}: damaged; run the job again") from error
    return entries


def _card(before: Snapshot, entries: list[dict[str, Any]], repo: str, run: str) -> HubFile:
    from huggingface_hub import constants

    place = f"pixvox/{run}"
    source = Source(f"pixvox run {run}", f"{constants.ENDPOINT}/{repo}/tree/main/{place}")
    card = (
        before.card or f"# {repo.partition('/')[2]}\n\nResults of PixVox bench are in `pixvox/`.\n"
    )
    try:
        return HubFile(CARD, updated_card(card, entries, source).encode())
    except UserError as error:
        raise UserError(f"{repo}: {CARD}: {error}") from error


def _outdated(before: Snapshot, files: list[HubFile], place: str) -> list[str]:
    """Returns files of earlier results that the run no longer has; speech only if it is sent."""
    names = {file.name for file in files}
    with_speech = any(name.startswith(f"{place}/speech/") for name in names)
    return [
        name
        for name in before.names
        if name.startswith(f"{place}/")
        and name not in names
        and (with_speech or not name.startswith(f"{place}/speech/"))
    ]


def _tree(options: PushOptions, run: str) -> str:
    from huggingface_hub import constants

    prefix = "datasets/" if options.repo_type == "dataset" else ""
    return f"{constants.ENDPOINT}/{prefix}{options.repo}/tree/main/pixvox/{run}"


def _print_plan(options: PushOptions, files: list[HubFile], entries: list[dict[str, Any]]) -> None:
    print(clean(f"would be sent to the {options.repo_type} repository {options.repo}:"))
    if options.repo_type == "model":
        count = plural(sum(len(entry["results"]) for entry in entries), "result")
        print(f"  {CARD}: {count} in its metadata ({KEY}); everything else in it stays")
    for file in files:
        print(clean(f"  {file.name}: {file.size:,} bytes"))
    size = sum(file.size for file in files)
    print(f"{plural(len(files), 'file')}, {size:,} bytes; nothing was sent; --yes sends them")
