"""Changes of level in short series, and the history of a results file in git."""

import json
import subprocess
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest

from bench.cli import main
from bench.trend import changepoints
from bench.trend.changepoints import change_points, noise
from bench.trend.series import series_of

pytestmark = pytest.mark.slow


def _by_enumeration(values: list[float]) -> list[int]:
    """The cheapest division among all of them."""
    count = len(values)
    factor = changepoints.PRICE * (1 + changepoints.SHORT / count)
    price = factor * noise(values) ** 2 * np.log(count)

    def cost(edges: tuple[int, ...]) -> float:
        ends = [0, *edges, count]
        parts = [np.array(values[a:b]) for a, b in pairwise(ends)]
        return sum(float(((p - p.mean()) ** 2).sum()) for p in parts) + price * len(edges)

    divisions = (d for size in range(count) for d in combinations(range(1, count), size))
    return list(min(divisions, key=cost))


def test_the_best_division_is_found() -> None:
    rng = np.random.default_rng(0)
    detected = 0
    for _ in range(20):
        levels = np.repeat(20 + 6 * rng.permutation(3), 4)
        values = (levels + rng.normal(0, 1, 12)).tolist()
        points = change_points(values)
        assert points in ([], _by_enumeration(values))
        detected += bool(points)
    assert detected >= 15


@pytest.mark.parametrize("draw", ["standard_normal", "standard_cauchy", "standard_exponential"])
def test_noise_of_any_kind_is_rarely_a_change(draw: str) -> None:
    rng = np.random.default_rng(1)
    for count in (6, 12, 30):
        noises = [20 + getattr(rng, draw)(count) for _ in range(200)]
        alarms = sum(bool(change_points(series.tolist())) for series in noises)
        # 5% of 200 are 10; 19 is three standard deviations more.
        assert alarms <= 19


def test_a_step_is_found() -> None:
    rng = np.random.default_rng(1)
    divisions = [
        change_points(np.r_[rng.normal(20, 1, 10), rng.normal(14, 1, 10)].tolist())
        for _ in range(50)
    ]
    assert sum(10 in points for points in divisions) >= 48
    assert change_points([21.5, 21.5, 21.5, 21.45, 21.5]) == []
    assert change_points([21.5] * 5 + [10.0]) == [5]


def _row(system: str, score: float, data: str = "scenes.test@1") -> dict[str, object]:
    fields = f"*|data:{data}|references:all|normaliser:none|tokeniser:t|metrics:m|asr:a|part:whole"
    return {
        "block": "measured",
        "system": system,
        "prompt": 0.0,
        "B4": score,
        "C": None,
        "signature": f"{fields}|codec:c|weights:w|seeds:0|n:200|failed:0|version:0",
    }


def _committed(folder: Path, tables: list[list[dict[str, object]]]) -> Path:
    path = folder / "table1.json"

    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)

    git("init", "-q")
    for number, rows in enumerate(tables):
        path.write_text(json.dumps(rows))
        git("add", ".")
        git("commit", "-qm", f"Commit [bold]table[/] {number}")
    return path


def test_a_committed_drop_is_found_at_its_commit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    published = {"block": "published", "system": "SAT", "signature": ""}
    scores = [21.0, 21.3, 20.9, 21.1, 17.0, 17.2, 16.9]
    path = _committed(tmp_path, [[published, _row("Delay", score)] for score in scores])
    (figure,) = series_of(path)
    (change,) = figure.changes
    assert figure.name == "Delay at 0% / B4"
    assert change.version.subject == "Commit [bold]table[/] 4"
    assert (change.before, change.after) == pytest.approx((21.075, 17.033), abs=1e-3)
    picture = tmp_path / "plots" / "trend.svg"
    assert main(["show", "trend", str(path), "--plot", str(picture)]) == 0
    assert "21.07 to 17.03" in capsys.readouterr().out.replace("\n", " ")
    assert picture.read_text().startswith("<?xml")
    assert main(["show", "trend", str(path), "--only", "nothing"]) == 2
    assert "no figure has 'nothing' in its name" in capsys.readouterr().err


def test_another_protocol_starts_a_new_stretch(tmp_path: Path) -> None:
    tables = [[_row("Delay", 21.0 + n / 1e3)] for n in range(4)]
    tables += [[_row("Delay", 12.0 + n / 1e3, data="scenes.test@2")] for n in range(4)]
    (figure,) = series_of(_committed(tmp_path, tables))
    assert [len(points) for points in figure.stretches] == [4, 4]
    assert figure.changes == []


def test_a_file_without_commits_gives_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _committed(tmp_path, [[_row("Delay", 21.0)]])
    assert main(["show", "trend", str(path.with_name("other.json"))]) == 2
    assert "no commit has it" in capsys.readouterr().err
