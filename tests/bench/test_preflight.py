"""What a run says before it starts about systems and recordings that do not go together."""

from pathlib import Path

import numpy as np
import soundfile

from bench.asr.shipped import DEFAULT
from bench.datasets.base import Caption, Dataset, Item
from bench.jobs.expansion import expand
from bench.jobs.preflight import short_limits
from bench.jobs.spec import Job


def test_a_limit_below_what_people_say_is_named_with_the_one_that_fits(tmp_path: Path) -> None:
    items = []
    for number in range(1, 21):
        file = tmp_path / f"{number}.wav"
        soundfile.write(file, np.zeros(number * 4000, np.float32), 16_000)
        items.append(Item(str(number), tmp_path / "a.png", (Caption("a dog", speech=file),)))
    (tmp_path / "20.wav").write_bytes(b"no sound")

    def lines(seconds: float) -> list[str]:
        system = {"kind": "pixvox", "label": "delay", "weights": "zoo:pixvox-tiny-delay"}
        system |= {"decoding": {"max_seconds": seconds}}
        job = Job.model_validate(
            {"name": "a", "dataset": {"name": "scenes"}, "systems": [system, {"kind": "silence"}]}
        )
        cells = expand(job, Dataset("d", "s", "none", tuple(items), digest="0"), [(DEFAULT, {})])
        return list(short_limits(items, cells))

    # 19 recordings of 0.25 to 4.75 s.
    assert lines(6.0) == []
    assert lines(5.0) == [
        "delay: speech is cut off at decoding.max_seconds 5; the 95th percentile of 19 recordings "
        "is 4.8 s; 5.7 leaves room"
    ]
