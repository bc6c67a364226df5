"""The table of each system's cost on the machines that ran it; it ranks nothing.

It is computed from the run's own costs (bench.store.costs).
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import polars as pl

from bench.jobs.cells import Cell
from bench.jobs.naming import names_without_seed
from bench.scoring.scorer import CellScores
from bench.store.columns import Column, declared, schema
from bench.store.costs import Cost, SpeechCost

COLUMNS = (
    Column("system", pl.String, "The system, with what distinguishes it."),
    Column("prompt", pl.Float64, "The share of the reference speech that was given."),
    Column("device", pl.String, "What generated: `cpu` (one thread an actor), or a GPU's name."),
    Column("machine", pl.String, "The machine's processor."),
    Column("batch", pl.Float64, "The mean number of rows in a batch."),
    Column("items", pl.Int64, "The number of timed rows, all seeds."),
    Column(
        "RTFx",
        pl.Float64,
        "Seconds of speech that one actor generates and decodes a second, the prompt left out.",
    ),
    Column(
        "device-seconds",
        pl.Float64,
        "Seconds of the device an item: of a GPU as time, of a CPU as CPU time of all threads.",
    ),
    Column("price", pl.Float64, "An item's cost at a service's price, without failed tries."),
    Column("peak MB", pl.Float64, "The highest memory use of an actor, MB: the GPU's, or RAM."),
)
NOTE = (
    "Values are of the machine in their row, of this batch, and of whatever else ran there; they "
    "say nothing across machines. RTFx and device-seconds include decoding by the codec and leave "
    "out starting, loading, transcribing and scoring. Rows that were made before a kill or a loss "
    "of an actor have no time."
)


def speed_frame(scores: Sequence[CellScores], costs: Iterable[SpeechCost]) -> pl.DataFrame:
    """Returns a row for every timed system and device, all seeds together."""
    named = _timed(scores)
    names = names_without_seed([each.cell for each in named])
    cost_of: dict[tuple[str, str], list[Cost]] = defaultdict(list)
    for each in costs:
        cost_of[each.speech_key, each.stage].append(each.cost)
    groups: dict[tuple[str, float], list[CellScores]] = defaultdict(list)
    for cell_scores in named:
        cell = cell_scores.cell
        groups[names[cell.name], cell.prompt].append(cell_scores)
    rows = []
    for (system, prompt), cells in groups.items():
        keys = [each.cell.speech_key for each in cells]
        generating = _by_device(cost for key in keys for cost in cost_of[key, "generating"])
        decoding = _by_device(cost for key in keys for cost in cost_of[key, "decoding"])
        speech = _speech_seconds(cells)
        rows += [
            (system, prompt, *_figures(cost, _decoding_on(cost, decoding), speech))
            for cost in generating
        ]
    frame = pl.DataFrame(rows, schema=schema(COLUMNS), orient="row")
    return declared(frame, COLUMNS)


def _timed(scores: Sequence[CellScores]) -> list[CellScores]:
    """Returns the cells of systems that generate, each speech once."""
    by_key: dict[str, CellScores] = {}
    for each in scores:
        cell: Cell = each.cell
        if cell.system.is_timed() and cell.source is None and cell.part == "whole":
            by_key.setdefault(cell.speech_key, each)
    return list(by_key.values())


def _by_device(costs: Iterable[Cost]) -> list[Cost]:
    sums: dict[tuple[str, str], Cost] = {}
    for cost in costs:
        key = (cost.device, cost.processor)
        sums[key] = sums[key].plus(cost) if key in sums else cost
    return list(sums.values())


def _decoding_on(generating: Cost, decoding: Sequence[Cost]) -> Cost | None:
    """Returns the cost of decoding on the same machine; None if it was decoded elsewhere."""
    return next((cost for cost in decoding if cost.processor == generating.processor), None)


def _speech_seconds(cells: Sequence[CellScores]) -> float:
    """Returns an item's mean length of generated speech in seconds; failed items have none."""
    items = pl.concat([each.items.select("seconds", "prompt_frames", "frames") for each in cells])
    share = 1 - pl.col("prompt_frames") / pl.col("frames").clip(1)
    mean = items.select((pl.col("seconds").fill_null(0) * share.fill_null(1)).mean()).item()
    return float(mean or 0.0)


def _figures(
    cost: Cost, decoding: Cost | None, speech_seconds: float
) -> tuple[str, str, float, int, float | None, float | None, float | None, float]:
    """Returns the table's columns from `device` on."""
    seconds = device_seconds = None
    if decoding is not None:
        seconds = cost.seconds / cost.rows + decoding.seconds / decoding.rows
        device_seconds = _device_seconds(cost) + _device_seconds(decoding)
    rate = speech_seconds / seconds if seconds else None
    peak = cost.peak_bytes / 1e6
    batch = cost.batch_rows / cost.calls
    price = cost.price / cost.rows if cost.price else None
    return cost.device, cost.processor, batch, cost.rows, rate, device_seconds, price, peak


def _device_seconds(cost: Cost) -> float:
    return (cost.cpu_seconds if cost.device == "cpu" else cost.seconds) / cost.rows
