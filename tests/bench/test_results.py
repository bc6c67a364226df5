"""All tables of a run are computed once, and reports only show them."""

from collections import Counter
from pathlib import Path

import pytest
from pages import finished_run

from bench.common.resampling import Resampling
from bench.metrics.base import Array
from bench.metrics.counted import Counted
from bench.scoring import inference


def test_each_pair_of_systems_is_permuted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times: Counter[tuple[bytes, bytes]] = Counter()
    permuted = inference._permuted

    def counting(a: Counted, b: Counted, resampling: Resampling) -> dict[str, Array]:
        times[a.values.tobytes(), b.values.tobytes()] += 1
        return permuted(a, b, resampling)

    monkeypatch.setattr(inference, "_permuted", counting)
    tiny = {"kind": "pixvox", "weights": "zoo:pixvox-tiny-delay", "prompts": [0, 0.5]}
    systems = [
        tiny | {"label": f"at {temperature}", "decoding": {"temperature": temperature}}
        for temperature in (0, 0.5, 0.8)
    ]
    finished_run(tmp_path, "pairs", systems=systems, asr=[{"model": "tiny.en"}])
    # Three pairs a prompt share; table1, table2, tests and points all show them.
    assert len(times) == 6
    assert set(times.values()) == {1}
