"""A leaderboard as one static HTML file in the style of a report, without scripts."""

from collections.abc import Mapping, Sequence

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bench.report.page.build import ASSETS, read_assets, source_hash
from bench.report.page.words import visible
from bench.tables.leaderboard import SHOWN, SIGNED, Entry
from bench.tables.ranking import METRIC, ranked


def _row(entry: Entry, reports: Mapping[str, str]) -> dict[str, object]:
    return {
        "system": visible(entry.system),
        "prompt": f"{entry.prompt:.0%}",
        "seeds": entry.seeds or "-",
        "scores": [
            (f"{estimate.score:.2f}", f"{estimate.low:.2f} to {estimate.high:.2f}")
            for estimate in (entry.scores[score.name] for score in SHOWN)
        ],
        "n": entry.n,
        "failed": entry.failed,
        "added": visible(entry.added),
        "run": visible(entry.run),
        "report": reports.get(entry.run, ""),
        "hash": visible(entry.hash),
    }


def board_page(entries: Sequence[Entry], reports: Mapping[str, str], title: str) -> str:
    """Returns the page of a verified leaderboard; `reports` has addresses by run name."""
    style = read_assets(["css/page.css"])
    environment = Environment(
        loader=FileSystemLoader(ASSETS), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("board.html.j2").render(
        title=visible(title),
        policy=Markup(
            f"default-src 'none'; style-src {source_hash(style)}; base-uri 'none'; "
            "form-action 'none'"
        ),
        style=Markup(style),
        metric=METRIC,
        heads=[(score.head, score.name, score.name == METRIC) for score in SHOWN],
        rows=[
            _row(ranking.entry, reports) | {"place": ranking.place, "earlier": ranking.earlier}
            for ranking in ranked(entries)
        ],
        history=[_row(entry, reports) for entry in entries],
        protocol=[(name, visible(str(entries[0].signature[name]))) for name in SIGNED],
        last=visible(entries[-1].hash),
    )
