"""A training's log: `log.jsonl` with a line for each step, and the curves drawn from it."""

import json
import time
from pathlib import Path
from typing import Any

from bench.common.atomic import write_text


class Log:
    """`log.jsonl` in a folder; steps that a resumed training repeats replace their old lines."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "log.jsonl"
        self._start = time.perf_counter()
        self._fresh = True

    def write(self, row: dict[str, Any]) -> None:
        """Appends a row, which has a `step`."""
        if self._fresh and self._path.exists():
            earlier = [line for line in read_log(self._path) if line["step"] < row["step"]]
            text = "".join(json.dumps(line) + "\n" for line in earlier)
            write_text(self._path, text)
        self._fresh = False
        seconds = round(time.perf_counter() - self._start, 2)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row | {"seconds": seconds}) + "\n")


def read_log(path: Path) -> list[dict[str, Any]]:
    """Returns the rows of a log; an incomplete last line is left out."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def last_row(path: Path) -> dict[str, Any] | None:
    """Returns the last complete row of a log; None where there is none yet."""
    if not path.exists():
        return None
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 8192))
        lines = file.read().split(b"\n")[:-1]
    row: dict[str, Any] | None = json.loads(lines[-1]) if lines else None
    return row


def draw(folder: Path) -> Path | None:
    """Draws `loss.svg` beside the log: the training loss, and the validation loss per codebook.

    For a similarity head, whose rows have `found`, it also draws the share of validation speech
    that finds its image. Returns None where the log has no row yet.
    """
    log = folder / "log.jsonl"
    rows = read_log(log) if log.exists() else []
    if not rows:
        return None
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from bench.common.figures import save_figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    steps, losses = [row["step"] for row in rows], [row["loss"] for row in rows]
    axes.plot(steps, losses, color="0.75", linewidth=0.8, label="training")
    checked = [row for row in rows if row.get("validation")]
    codebooks = len(checked[0]["validation"]) if checked else 0
    colours = mpl.colormaps["viridis"]
    for q in range(codebooks):
        values = [row["validation"][q] for row in checked]
        colour = colours(q / max(1, codebooks - 1) * 0.85)
        steps = [row["step"] for row in checked]
        axes.plot(steps, values, color=colour, marker=".", label=f"validation, codebook {q + 1}")
    shares = [(row["step"], row["found"]) for row in rows if row.get("found") is not None]
    if shares:
        axes.plot(
            *zip(*shares, strict=True), marker=".", label="validation speech that finds its image"
        )
    axes.set_xlabel("step")
    axes.set_ylabel("cross entropy in nats; share" if shares else "cross entropy, nats a unit")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    target = folder / "loss.svg"
    save_figure(figure, target)
    return target
