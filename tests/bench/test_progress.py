"""What progress lines say of pace and time left."""

import pytest

from bench.common.progress import pace


@pytest.mark.parametrize(
    ("done", "seconds", "left", "said"),
    [
        (0, 5.0, 100, ""),
        (10, 0.0, 100, ""),
        (200, 10.0, 1000, ", 20/s, about 50 s left"),
        (5, 10.0, 1000, ", 2 s each, about 33 min left"),
        (1000, 1000.0, 7200, ", 1/s, about 2.0 h left"),
        (10, 4.0, 0, ", 2.5/s"),
    ],
)
def test_pace(done: int, seconds: float, left: int, said: str) -> None:
    assert pace(done, seconds, left) == said
