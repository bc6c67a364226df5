"""The table of each system's cost on the machines that ran it; it ranks nothing.

It is computed from the run's own costs (bench.store.costs).
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
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
    Column("price", pl.Float64, "What an item cost at a service's price, failed tries left out."),
    Column("peak MB", pl.Float64, "The most memory of an actor, 10⁶ bytes: the GPU's, or RAM."),
    Column(
        "J an item",
        pl.Float64,
        "Energy of the whole GPU while it generated and decoded an item, where NVML tells.",
    ),
    Column(
        "latency p50",
        pl.Float64,
        "Median seconds from the picture to the speech of an item that was generated and decoded "
        "alone (`cluster.latency_items`). The first sound comes then: nothing is streamed.",
    ),
    Column("latency p95", pl.Float64, "The 95th percentile of these seconds."),
    Column("alone", pl.Int64, "How many rows these seconds are of."),
)
NOTE = (
    "Values are of the machine in their row, of this batch, and of whatever else ran there; they "
    "say nothing across machines. RTFx and device-seconds include decoding by the codec and leave "
    "out starting, loading, transcribing and scoring. Rows that were made before a kill or a loss "
    "of an actor have no time. Latencies are of one actor beside the others, on a CPU with one "
    "thread, without sending; energy is the card's, whatever else it computed meanwhile. "
    "A dash is not measured."
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
        for cost in generating:
            alone = [
                seconds
                for key in keys
                for own in _by_device(cost_of[key, "generating"])
                if own.place == cost.place
                for seconds in _latencies(own, _decoding_on(own, cost_of[key, "decoding"]))
            ]
            figures = _figures(cost, _decoding_on(cost, decoding), speech_seconds=speech)
            rows.append((system, prompt, *figures, *_percentiles(alone), len(alone)))
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
        known = sums.get(cost.place)
        sums[cost.place] = known.plus(cost) if known is not None else cost
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


def _latencies(generating: Cost, decoding: Cost | None) -> list[float]:
    """Seconds from the picture to the speech, of the items of one speech that were alone."""
    decoded = decoding.alone if decoding is not None else {}
    return [
        seconds + decoded[item] for item, seconds in generating.alone.items() if item in decoded
    ]


def _percentiles(latencies: Sequence[float]) -> tuple[float | None, float | None]:
    """Their median and their 95th percentile; None where there are none."""
    if not latencies:
        return None, None
    median, high = np.percentile(latencies, (50, 95)).tolist()
    return median, high


def _figures(cost: Cost, decoding: Cost | None, *, speech_seconds: float) -> tuple[Any, ...]:
    """The table's columns from `device` to the energy."""
    seconds = device_seconds = joules = None
    if decoding is not None:
        seconds = cost.seconds / cost.rows + decoding.seconds / decoding.rows
        device_seconds = _device_seconds(cost) + _device_seconds(decoding)
        if cost.joules and decoding.joules:
            joules = cost.joules / cost.rows + decoding.joules / decoding.rows
    return (
        cost.device,
        cost.processor,
        cost.batch_rows / cost.calls,
        cost.rows,
        speech_seconds / seconds if seconds else None,
        device_seconds,
        cost.price / cost.rows if cost.price else None,
        cost.peak_bytes / 1e6,
        joules,
    )


def _device_seconds(cost: Cost) -> float:
    return (cost.cpu_seconds if cost.device == "cpu" else cost.seconds) / cost.rows
