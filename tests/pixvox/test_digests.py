"""Weights are what they hold: no container, name, order or time of saving changes their digest."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from pixvox.digests import WeightsError, archive_digest, digest, folder_digest

CONFIG = {"model_type": "x", "hidden_size": 2, "nested": {"depth": 1}}


def _tensors() -> dict[str, Tensor]:
    return {
        "b": torch.arange(6.0).reshape(2, 3),
        "a": torch.tensor(1, dtype=torch.int64),
        "half": torch.ones(3, dtype=torch.bfloat16),
    }


def _folder(folder: Path, config: dict[str, object], *shards: dict[str, Tensor]) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    for number, tensors in enumerate(shards):
        save_file(tensors, folder / f"model-{number}.safetensors", {"saved": folder.name})
    return folder


def test_containers_change_no_digest(tmp_path: Path) -> None:
    tensors = _tensors()
    first = _folder(tmp_path / "one", CONFIG, tensors)
    saved = {"transformers_version": "9", "_name_or_path": str(tmp_path), "dtype": "float32"}
    saved |= {"trained_on": ["scenes"]}
    nested = {"nested": {"depth": 1, "transformers_version": "8"}}
    parts = ({"a": tensors["a"]}, {name: tensors[name] for name in ("half", "b")})
    two = _folder(tmp_path / "two", dict(reversed((CONFIG | nested | saved).items())), *parts)
    (two / "model.safetensors.index.json").write_text("{}")
    (two / "README.md").write_text("a card")
    assert digest(first) == digest(two)
    assert folder_digest(first) == folder_digest(two)
    torch.save(tensors, first / "pytorch_model.bin")
    next(first.glob("*.safetensors")).unlink()
    assert folder_digest(first) == folder_digest(two)


@pytest.mark.parametrize(
    "changed",
    [
        {"b": torch.arange(6.0).reshape(3, 2)},
        {"b": torch.arange(6.0).reshape(2, 3).double()},
        {"b": -torch.arange(6.0).reshape(2, 3)},
        {"c": torch.zeros(1)},
    ],
)
def test_content_changes_the_digest(tmp_path: Path, changed: dict[str, Tensor]) -> None:
    first = _folder(tmp_path / "one", CONFIG, _tensors())
    two = _folder(tmp_path / "two", CONFIG, _tensors() | changed)
    assert digest(first) != digest(two)
    two = _folder(tmp_path / "three", CONFIG | {"hidden_size": 3}, _tensors())
    assert digest(first) != digest(two)


def test_an_archive_is_its_content_and_not_its_files_name(tmp_path: Path) -> None:
    state = {"dims": {"n": 1}, "model_state_dict": _tensors()}
    torch.save(state, tmp_path / "first.123.pt")
    torch.save(dict(reversed(state.items())), tmp_path / "second.pt")
    assert (tmp_path / "first.123.pt").read_bytes() != (tmp_path / "second.pt").read_bytes()
    assert archive_digest(tmp_path / "first.123.pt") == archive_digest(tmp_path / "second.pt")
    torch.save(state | {"dims": {"n": 2}}, tmp_path / "second.pt")
    assert archive_digest(tmp_path / "first.123.pt") != archive_digest(tmp_path / "second.pt")
    (tmp_path / "second.pt").write_bytes(b"PK\3\4 cut off")
    with pytest.raises(WeightsError, match=r"second.pt: not loaded"):
        archive_digest(tmp_path / "second.pt")
