"""The page as files: one file with everything, or a folder with media in script files."""

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bench.report.page.charts import prompt_curves, waterfalls
from bench.report.page.content import Content
from bench.report.page.finished import Finished
from bench.report.page.overview import failures, provenance, small_table, tables
from bench.report.page.sweeps import sweep
from bench.report.page.words import visible

ASSETS = Path(__file__).parent / "assets"
STYLES = ("page.css", "items.css", "listen.css")
PROGRAM = (
    "base",
    "media",
    "player",
    "words",
    "routes",
    "choose",
    "list",
    "item",
    "compare",
    "trials",
    "listen",
    "tips",
    "tables",
    "main",
)
"""The parts of the page's program, in the order in which they are joined."""
SINGLE_MOST = 25_000_000
"""Bytes; about the limit of mail servers, and a size that browsers open quickly."""
PIECE = 4_000_000
"""Bytes of media in one file of a folder."""

Form = Literal["single-file", "folder"]


@dataclass(frozen=True)
class Page:
    """The files of a page: its HTML, and the further files beside it by name."""

    form: Form
    html: str
    pieces: dict[str, str]

    @property
    def bytes(self) -> int:
        """The size of all its files in bytes."""
        return sum(len(text.encode()) for text in (self.html, *self.pieces.values()))


def plain_json(content: Any) -> Markup:
    """Returns JSON that is safe in a script element: without `<`, `>`, `&` and line separators."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def source_hash(text: str) -> str:
    """Returns a hash in the form of a content security policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _policy(style: str, program: str, form: Form) -> str:
    """Returns a policy that allows only the page's own program and data; nothing is fetched."""
    pieces = "" if form == "single-file" else " 'self' file:"
    return (
        f"default-src 'none'; script-src {source_hash(program)}{pieces}; "
        f"style-src {source_hash(style)}; img-src data: blob:; media-src blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def read_assets(names: Sequence[str]) -> str:
    """Returns the content of some of the page's own files, joined."""
    return "\n".join((ASSETS / name).read_text(encoding="utf-8") for name in names)


def _program() -> str:
    parts = read_assets([f"js/{name}.js" for name in PROGRAM])
    return f'(() => {{\n"use strict";\n{parts}\n}})();\n'


def _pieces(content: Content) -> Iterator[dict[str, str]]:
    """Yields media in groups of about PIECE bytes, in the order in which items use them."""
    piece: dict[str, str] = {}
    size = 0
    for name, medium in content.media.held.items():
        piece[name] = medium.data
        size += len(medium.data)
        if size > PIECE:
            yield piece
            piece, size = {}, 0
    if piece:
        yield piece


def form_of(content: Content) -> tuple[Form, str]:
    """Returns the form that suits a content's size, and the reason."""
    size = content.media.bytes
    most = f"{SINGLE_MOST / 1e6:.0f} MB"
    if size <= SINGLE_MOST:
        return "single-file", f"its media take {size / 1e6:.1f} MB, and up to {most} fit one file"
    return "folder", f"its media take {size / 1e6:.0f} MB, and one file holds up to {most}"


def _run(run: Finished, labels: Sequence[str]) -> dict[str, Any]:
    return {
        "tables": list(tables(run)),
        "waterfalls": list(waterfalls(run)),
        "curves": prompt_curves(run),
        "sweep": sweep(run),
        "audit": small_table(run, "audit"),
        "survival": small_table(run, "audit-tests"),
        "sensitivity": small_table(run, "sensitivity"),
        "failures": failures(run, labels),
        "provenance": provenance(run, labels),
    }


def _downloads(runs: Sequence[dict[str, Any]]) -> dict[str, dict[str, str]]:
    """Returns every table of the runs by its id on the page, in its form for download."""
    downloads: dict[str, dict[str, str]] = {}
    for number, run in enumerate(runs, 1):
        named = [(f"table-{number}-{place}", table) for place, table in enumerate(run["tables"], 1)]
        named += [
            (f"{name}-{number}", run[name])
            for name in ("audit", "survival", "sensitivity", "failures")
            if run[name] is not None
        ]
        downloads |= {name: {"file": table.file, "text": table.csv} for name, table in named}
    return downloads


def build(
    runs: Sequence[Finished], content: Content, form: Form, *, title: str, beside: str
) -> Page:
    """Returns the page of finished runs, the first of which is the baseline.

    `beside` is the folder of media next to the page, if it has one.
    """
    style, program = read_assets([f"css/{name}" for name in STYLES]), _program()
    pieces: dict[str, str] = {}
    where: dict[str, int] = {}
    if form == "folder":
        for number, piece in enumerate(_pieces(content)):
            pieces[f"piece-{number:04d}.js"] = f"pixvoxMedia({plain_json(piece)});\n"
            where |= dict.fromkeys(piece, number)
    labels = [
        [cell["label"] for cell in content.data["cells"] if cell["run"] == number]
        for number in range(len(runs))
    ]
    environment = Environment(
        loader=FileSystemLoader(ASSETS), autoescape=True, undefined=StrictUndefined
    )
    # Identifies a listening test: the same cells, items and sounds, whatever the title.
    whole = json.dumps(content.data, sort_keys=True).encode()
    further = {
        "title": visible(title),
        "digest": hashlib.sha256(whole).hexdigest()[:16],
        "media": {name: medium.mime for name, medium in content.media.held.items()},
        "pieces": where,
        "folder": beside,
    }
    shown = [_run(run, own) for run, own in zip(runs, labels, strict=True)]
    further["csv"] = _downloads(shown)
    html = environment.get_template("page.html.j2").render(
        title=visible(title),
        policy=Markup(_policy(style, program, form)),
        style=Markup(style),
        program=Markup(program),
        data=plain_json(content.data | further),
        runs=shown,
        several=len(content.data["cells"]) > 1,
        media=()
        if form == "folder"
        else [(name, medium.data) for name, medium in content.media.held.items()],
    )
    return Page(form, html, pieces)
