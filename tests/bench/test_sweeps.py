"""Points of a sweep: each has its name, its place on every axis, and its row of each table."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from measured import DRAWN, ITEMS, cell_scores, rows_of

from bench.asr.shipped import DEFAULT
from bench.common.errors import UserError
from bench.common.figures import save_figure
from bench.jobs.naming import names_without_seed
from bench.metrics.counted import leading
from bench.report.figures import sweep_figure
from bench.scoring.scorer import CellScores
from bench.systems.decoding import DecodingSpec
from bench.systems.pixvox import PixVoxSystem
from bench.tables.audit import audited, summary
from bench.tables.points import choices, points
from bench.tables.sweep import pivot, sensitivity, tidy
from bench.tables.testing import PairTests, compare_rows


def test_a_plot_is_the_same_bytes_whatever_a_label_holds(tmp_path: Path) -> None:
    label = "_50% of $x\x1b[2J and $\\frac{"
    speaker = {"kind": "pixvox", "label": label, "weights": "zoo:pixvox-tiny-delay"}
    scores = []
    for number, guidance in enumerate((1, 1.5, 2)):
        system = PixVoxSystem.model_construct(**speaker, decoding=DecodingSpec(guidance=guidance))
        frame = cell_scores(label, system=system, seed=number)
        cell = replace(frame.cell, speech_key=f"s{number}", transcript_key=f"h{number}")
        scores.append(replace(frame, cell=cell))
    rows = rows_of(*scores)
    frame = points(rows, compare_rows(rows, rows[0], PairTests(DRAWN)))
    assert choices(frame) == ["guidance"]
    # One point of each score is the best, and it is like itself.
    assert frame.filter("best")["metric"].to_list() == [s.name for s in rows[0].counted.scores]
    assert frame.filter("best")["alike"].all()
    for name in ("a.svg", "b.svg", "a.docx"):
        figure = sweep_figure(frame)
        assert figure is not None
        if name == "a.docx":
            with pytest.raises(UserError, match="not a format of figures"):
                save_figure(figure, tmp_path / name)
        else:
            save_figure(figure, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_a_value_for_each_codebook_is_another_point_of_a_sweep() -> None:
    speaker = {"kind": "pixvox", "label": "x", "weights": "zoo:pixvox-tiny-delay"}
    scores = []
    for number, guidance in enumerate((2, [2, 1, 1, 1])):
        system = PixVoxSystem.model_validate(speaker | {"decoding": {"guidance": guidance}})
        measured = cell_scores("x", system=system, seed=number)
        cell = replace(measured.cell, speech_key=f"s{number}", transcript_key=f"h{number}")
        scores.append(replace(measured, cell=cell))
    points = pivot(tidy(scores))
    assert points["per_codebook"].to_list() == [None, "guidance 2 1 1 1"]
    assert points["seeds"].to_list() == [1, 1]


def test_what_is_ranked_by_each_asr_was_transcribed() -> None:
    cells = [cell_scores("dead", ITEMS), cell_scores("alive", seed=1)]
    frame = pl.concat([tidy(cells), tidy(cells).with_columns(normaliser=pl.lit("whisper"))])
    sensitivities = _sensitivity(frame, cells)
    assert set(sensitivities["system"]) == {"alive"}


def _sensitivity(frame: pl.DataFrame, scores: Sequence[CellScores]) -> pl.DataFrame:
    cells = [score.cell for score in scores]
    assert cells[0].asr is not None
    return sensitivity(frame, cells, asr=cells[0].asr.label, normaliser="none")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(("x", "y")),
            st.sampled_from((1.0, 1.5, 2.0, (2.0, 1.0, 1.0, 1.0), 2.0000001)),
            st.sampled_from((0.3, 0.5)),
            st.integers(0, 2),
        ),
        min_size=1,
        max_size=6,
        unique=True,
    )
)
def test_cells_have_one_name_each_but_for_seeds(places: list[tuple[str, Any, float, int]]) -> None:
    speaker = {"kind": "pixvox", "weights": "zoo:pixvox-tiny-delay"}
    cells = []
    for number, (label, guidance, temperature, seed) in enumerate(places):
        decoding = {"guidance": guidance, "temperature": temperature, "seed": seed}
        system = PixVoxSystem.model_validate(speaker | {"label": label, "decoding": decoding})
        cell = cell_scores(label, system=system).cell
        cells.append(replace(cell, speech_key=f"s{number}", transcript_key=f"t{number}"))
    names = list(names_without_seed(cells).values())
    pairs = list(zip([place[:3] for place in places], names, strict=True))
    for measured, name in pairs:
        assert all((measured == other) == (name == its) for other, its in pairs)
        assert name.split(", ")[0] == measured[0]
        # An axis on which no cell of the label differs is not in its name.
        alike = [other for other, _ in pairs if other[0] == measured[0]]
        assert ("temperature" in name) == (len({other[2] for other in alike}) > 1)


def test_two_guidances_are_two_rows_of_an_audit_and_of_sensitivity() -> None:
    speaker = {"kind": "pixvox", "label": "x", "weights": "zoo:pixvox-tiny-delay"}
    scores = []
    asrs = [DEFAULT, DEFAULT.model_copy(update={"model": "base"})]
    for number, (guidance, asr) in enumerate(product((1, 2), asrs)):
        system = PixVoxSystem.model_validate(speaker | {"decoding": {"guidance": guidance}})
        sensitivities = cell_scores("x", system=system, seed=number)
        keys = {"speech_key": f"s{guidance}", "transcript_key": f"t{number}"}
        score = leading(sensitivities.counted.scores).name
        texts = {"transcript": "a dog", "tokens": "a dog", score: 1.0}
        items = sensitivities.items.with_columns(
            pl.lit(value).alias(name) for name, value in texts.items()
        )
        cell = replace(sensitivities.cell, asr=asr, **keys)
        scores.append(replace(sensitivities, cell=cell, items=items))
    table = summary(audited(scores, asrs))
    assert table["system"].to_list() == ["x, guidance 1", "x, guidance 2"]
    sensitivities = sensitivity(
        tidy(scores), [s.cell for s in scores], asr=asrs[0].label, normaliser="none"
    )
    keys = sensitivities.select("system", "prompt", "metric", "asr", "normaliser")
    assert keys.is_unique().all()
    assert set(sensitivities["system"]) == {"x, guidance 1", "x, guidance 2"}
