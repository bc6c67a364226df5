"""What actors of a cluster are sent: messages with their files, and weights once a node."""

import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from bench.asr.own import OwnAsr
from bench.asr.shipped import AnyAsr
from bench.asr.whisper import WhisperAsr
from bench.common.audio import SpeechError
from bench.common.entries import Entry, module_root
from bench.datasets.base import Caption, Item
from bench.datasets.storedunits import UnitsEntry, read_units_file, write_packed
from bench.execution import nodefiles
from bench.execution.nodefiles import take_places, whole_files
from bench.execution.parcels import as_on_driver, needed_to_generate, pack, unpack
from bench.store.rows import SpeechRow
from bench.systems.base import Variant
from bench.systems.prompt import PromptSystem
from bench.systems.python import PythonSystem
from bench.systems.shipped import AnySystem
from bench.systems.units import UnitsSystem
from bench.systems.wavs import WavsGenerator, WavsSystem
from pixvox import weights
from pixvox.weights import resolve


@pytest.fixture(autouse=True)
def _places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "_places", {})


def test_a_parcel_s_files_exist_only_while_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, node = tmp_path / "data", tmp_path / "node"
    data.mkdir()
    monkeypatch.chdir(tmp_path)
    (data / "1.wav").write_bytes(b"one")
    system = WavsSystem(kind="wavs", label="w", folder=Path("data"))
    items = [Item(str(n), Path(f"images/{n}.png"), ()) for n in (1, 2)]
    asked = [(item, (Variant("k", 0.0, system),)) for item in items]
    parcel = pack((asked, system), needed_to_generate(asked))
    (data / "1.wav").unlink()
    with unpack(parcel, node) as (asked, system):
        assert (system.folder / "1.wav").read_bytes() == b"one"
        assert system.folder.is_relative_to(node)
        generator = WavsGenerator(system)
        (item, (variant,)), (absent, _) = asked
        assert generator.generate_item(item, variant) == SpeechRow(
            item="1", status="ok", file="1.wav"
        )
        # A folder of which no file is sent is there all the same, and the reason is the item's.
        with pytest.raises(SpeechError, match=r"^2.wav: no such file$"):
            generator.generate_item(absent, variant)
        assert as_on_driver(f"{system.folder}/2.wav: torn") == "data/2.wav: torn"
    assert not node.exists()


def test_only_the_units_of_needed_captions_are_sent(tmp_path: Path) -> None:
    file, units = tmp_path / "units.npz", np.arange(8, dtype=np.int16).reshape(2, 4)
    write_packed(file, "codec", {"a_0": units, "b_0": units + 1})
    item = Item("b", tmp_path / "b.png", (Caption("b", units=UnitsEntry(file, "b_0")),))
    system = PromptSystem(kind="prompt", codec="zoo:encodec-tiny", bandwidth=1.6)
    asked = [(item, (Variant("k", 0.5, system),))]
    with unpack(pack(asked, needed_to_generate(asked)), tmp_path / "node") as [(there, _)]:
        entry = there.captions[0].units
        held = read_units_file(entry.file)
        assert (held.codec, list(held.units)) == ("codec", ["b_0"])
        assert (held.units["b_0"] == units + 1).all()


def test_weights_are_written_once_a_node_and_not_at_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    folder, session = tmp_path / "weights", tmp_path / "session"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "empty").touch()
    monkeypatch.setattr(nodefiles, "session_folder", lambda: session)
    fetched: list[Any] = []

    def fetch(held: Any) -> Any:
        fetched.append(held)
        return held

    monkeypatch.setattr(ray, "get", fetch)
    monkeypatch.setattr(
        ray, "get_runtime_context", lambda: type("", (), {"get_node_id": lambda self: "here"})()
    )
    monkeypatch.setattr(ray, "put", lambda held: held)
    sent = nodefiles._put(nodefiles._describe_file("mine/weights", folder))
    take_places([sent], home="here")
    assert resolve("mine/weights") == folder
    take_places([sent], home="elsewhere")
    there = resolve("mine/weights")
    assert there.parent.parent == session
    assert {path.name: path.read_bytes() for path in there.iterdir()} == {
        "config.json": b"{}",
        "empty": b"",
    }
    assert resolve("mine/weights") == there
    assert len(fetched) == 1
    # What lies at the driver's path of another machine may be something else.
    (folder / "config.json").write_text("{ }")
    take_places([sent], home="here")
    assert resolve("mine/weights") == there


def test_actors_find_sent_files_by_name(tmp_path: Path) -> None:
    table, model = tmp_path / "units.parquet", tmp_path / "model.pt"
    model.touch()
    system = UnitsSystem(
        kind="units", label="u", file=table, codec="zoo:encodec-tiny", bandwidth=1.6
    )
    asr = WhisperAsr(model=str(model))
    # The zoo is part of the package.
    assert whole_files([system], [asr]) == {str(table): table, asr.placed_as: model}
    weights.place(asr.placed_as, lambda: tmp_path / "elsewhere.pt")
    weights.place(str(table), lambda: tmp_path / "there.parquet")
    assert asr.locate() == tmp_path / "elsewhere.pt"
    with unpack(pack(system), tmp_path / "node") as given:
        assert given.file == tmp_path / "there.parquet"


def test_own_classes_are_sent_as_their_outermost_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "theirs_a" / "inner").mkdir(parents=True)
    for name in ("theirs_a/__init__.py", "theirs_a/inner/__init__.py", "theirs_a/b.py", "one.py"):
        (tmp_path / name).touch()
    roots = {
        entry: module_root(f"{entry}:Mine", "mine")
        for entry in ("theirs_a", "theirs_a.b", "theirs_a.inner", "one", "pytest")
    }
    package = tmp_path / "theirs_a"
    assert roots == {
        "theirs_a": package,
        "theirs_a.b": package,
        "theirs_a.inner": package,
        "one": tmp_path / "one.py",
        "pytest": None,
    }
    for name in [name for name in sys.modules if name.split(".")[0] == "theirs_a"]:
        del sys.modules[name]


def test_every_class_that_a_job_may_name_for_an_actor_is_sent() -> None:
    asrs = [get_args(tagged)[0] for tagged in get_args(get_args(AnyAsr)[0])]
    kinds = [*get_args(get_args(AnySystem)[0]), *get_args(asrs[0]), *asrs[1:]]
    named = {
        kind: [
            name
            for name, field in kind.model_fields.items()
            if field.metadata == get_args(Entry)[1].metadata
        ]
        for kind in kinds
    }
    assert [kind for kind in kinds if named[kind]] == [PythonSystem, OwnAsr]
    for kind, fields in named.items():
        entries = kind.model_construct(**dict.fromkeys(fields, "mine:Mine")).entries()
        assert list(entries) == ["mine:Mine"] * len(fields)
