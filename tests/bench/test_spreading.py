"""What a training computes beforehand, on a cluster whose nodes have none of its files."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.common.audio import wav_bytes
from bench.common.errors import UserError
from bench.common.spread import Task, compute_here
from bench.datasets.base import Dataset, DatasetSpec
from bench.datasets.scenes.load import ScenesSpec
from bench.datasets.unitcache import encoded_units
from bench.execution.spreading import compute_on_ray
from bench.training.data import ImageEncoder, Preparing, pictures
from pixvox.codec.encodec import Codec
from pixvox.modeling import PixVoxLM
from pixvox.weights import resolve

pytestmark = pytest.mark.slow


@pytest.fixture
def two_nodes(tmp_path: Path, as_node: Any) -> Iterator[str]:
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    for name in ("first", "second"):
        with as_node(name):
            cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    yield cluster.address
    cluster.shutdown()


def _noise(file: Path, seed: int) -> Path:
    samples = np.random.default_rng(seed).normal(0, 0.1, 8000 + 100 * seed)
    file.write_bytes(wav_bytes(samples.astype(np.float32), 16_000))
    return file


def test_nodes_compute_the_bytes_of_the_driver_alone(
    two_nodes: str, tmp_path: Path, scenes: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = Codec.load("zoo:encodec-tiny", 1.6)
    model = PixVoxLM.from_pretrained(resolve("zoo:pixvox-tiny-delay"))
    encoder = ImageEncoder(model.vision, model.config.scaling)
    paths = [item.image for item in scenes.items[:20]]
    speech = [_noise(tmp_path / f"{seed}.wav", seed) for seed in range(10)]
    shown: list[tuple[str, int, int]] = []
    here = Preparing(report=lambda *_: None, mirrored=True)
    nodes = Preparing(
        report=lambda *step: shown.append(step),
        compute=compute_on_ray(two_nodes, fewest=2),
        mirrored=True,
    )
    states, units = [], []
    for name, how in (("here", here), ("nodes", nodes)):
        spec: DatasetSpec = ScenesSpec(name="scenes", folder=tmp_path / name)
        states.append(np.array(pictures(spec, "train", paths, encoder, how=how)))
        folder = tmp_path / name
        units.append(encoded_units(speech, codec, folder, how.report, compute=how.compute))
    np.testing.assert_array_equal(*states)
    assert all(map(np.array_equal, *units))
    assert ("pictures", 20, 20) in shown
    assert ("units", 10, 10) in shown


def test_an_item_that_fails_in_an_actor_is_named() -> None:
    class Reciprocal:
        for_gpu = False

        def to(self, device: str) -> None: ...

        def __call__(self, values: Sequence[int]) -> list[float]:
            return [1 / value for value in values]

    values = [4, 2, 0, 8, 5]
    task = Task(
        work=Reciprocal(),
        count=5,
        batch=2,
        read=lambda number: values[number],
        name=lambda number: f"picture {number}",
    )
    with (
        closing(compute_on_ray(None, fewest=2)(task)) as results,
        pytest.raises(UserError, match=r"^picture 2: ZeroDivisionError"),
    ):
        list(results)
    with pytest.raises(ZeroDivisionError):
        list(compute_here(task))
