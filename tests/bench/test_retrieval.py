"""Retrieval plays a training caption: the right one, without its text, and by content alone."""

import pickle
import random
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from bench.common.audio import read_speech
from bench.common.errors import UserError
from bench.datasets.base import Dataset
from bench.datasets.storedunits import write_packed
from bench.execution import executor
from bench.store.rows import SpeechRow, ToTranscribe
from bench.systems.base import Lookup, Variant
from bench.systems.consensus import (
    GAP,
    Units,
    WordSimilarity,
    most_central,
    substitution_costs,
    unit_similarity,
)
from bench.systems.editdistance import edit_distances
from bench.systems.imagestates import States, mean_states
from bench.systems.retrieval import RetrievalSystem
from pixvox.codec.encodec import Codec

VISION = "zoo:pixvox-tiny-delay"
CODEC = {"codec": "zoo:encodec-tiny", "bandwidth": 1.6}
CHOICES: tuple[dict[str, Any], ...] = (
    {"choose": "nearest"},
    {"choose": "consensus-units", "neighbours": 2, **CODEC},
    {"choose": "consensus-words", "neighbours": 2},
)


@pytest.fixture
def training(flickr8k: Path) -> Path:
    """A Flickr8k folder whose first three test images, which are scenes, are its training."""
    names = (flickr8k / "Flickr_8k.testImages.txt").read_text().split()
    (flickr8k / "Flickr_8k.trainImages.txt").write_text("\n".join(names[:3]) + "\n")
    return flickr8k


def _system(root: Path, choice: Mapping[str, Any], audio: str = "flickr_audio") -> RetrievalSystem:
    data = {"name": "flickr8k", "root": root, "audio": root / audio}
    data["folder"] = root / "computed"
    named = {"kind": "retrieval", "label": "replayed", "vision": VISION}
    return RetrievalSystem.model_validate(named | {"data": data} | dict(choice))


def _rows(systems: Sequence[RetrievalSystem], scenes: Dataset) -> dict[str, list[SpeechRow]]:
    """Each system's rows for three scenes, by the system's number: `0`, `1` and so on.

    Systems that can share a generator do.
    """
    rows: dict[str, list[SpeechRow]] = {str(number): [] for number in range(len(systems))}
    variants = [Variant(str(number), 0, system) for number, system in enumerate(systems)]
    for shared in {system.shared(): None for system in systems}:
        served = tuple(v for v in variants if v.system.shared() == shared)
        for key, row in shared.generator("cpu").generate([(i, served) for i in scenes.items[:3]]):
            assert (row.status, row.reason) == ("ok", "")
            rows[key].append(row)
    return rows


def _chosen(systems: Sequence[RetrievalSystem], scenes: Dataset) -> dict[str, list[str]]:
    """The training captions that those rows name."""
    rows_by_key = _rows(systems, scenes)
    return {key: [row.file for row in rows] for key, rows in rows_by_key.items()}


def test_a_caption_in_the_middle_of_the_others_is_chosen() -> None:
    rng = np.random.default_rng(0)
    middle = rng.integers(0, 32, 60)
    changed = [middle.copy() for _ in range(4)]
    for number, recording in enumerate(changed):
        recording[10 * number : 10 * number + 8] = rng.integers(32, 64, 8)
    units = [*changed[:2], rng.integers(0, 64, 60), middle, *changed[2:], middle[:20]]
    costs = substitution_costs(rng.normal(size=(64, 8)).astype(np.float32))
    assert most_central(unit_similarity(units, costs)) == 3
    said = [
        "a grey horse stands behind a fence",
        "a grey horse stands",
        "two boats on a lake",
        "the horse is behind a fence",
    ]
    similarity = WordSimilarity([said[:2], said[2:], ["a boat"], ["a kite", "the sea"]])
    assert most_central(similarity(said)) == 0
    # Captions without a word are like no other.
    assert similarity(["...", "!"]).tolist() == [[0, 0], [0, 0]]


def _edit_distance(first: Units, other: Units, costs: Any) -> int:
    """The textbook's table."""
    table = [[GAP * (i + j) for j in range(len(other) + 1)] for i in range(len(first) + 1)]
    for i, a in enumerate(first, 1):
        for j, b in enumerate(other, 1):
            gaps = min(table[i - 1][j], table[i][j - 1]) + GAP
            table[i][j] = min(gaps, table[i - 1][j - 1] + int(costs[a, b]))
    return table[-1][-1]


def test_edit_distances_are_the_textbook_s() -> None:
    rng = np.random.default_rng(1)
    costs = substitution_costs(rng.normal(size=(8, 2)).astype(np.float32))
    assert (costs.diagonal().max(), costs.max(), len(np.unique(costs)) > 3) == (0, GAP, True)
    units = [rng.integers(0, 8, length) for length in (0, 1, 7, 12, 9)]
    ends = np.concatenate([[0], np.cumsum([len(sequence) for sequence in units])])
    distances = edit_distances(np.concatenate(units), ends, costs, GAP)
    assert distances.tolist() == [[_edit_distance(a, b, costs) for b in units] for a in units]


def test_only_missing_states_are_computed_and_they_are_known_by_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[str] = []

    class Encoder:
        def mean_state(self, image: Path) -> States:
            encoded.append(image.name)
            return np.full(4, len(image.read_bytes()), np.float32)

    def states(*names: str) -> list[float]:
        paths = [tmp_path / name for name in names]
        states = mean_states(paths, "e", Encoder, folder=tmp_path, report=lambda *_: None)
        return states[:, 0].tolist()

    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"22")
    assert states("a", "b") == [1, 2]
    (tmp_path / "a").rename(tmp_path / "c")
    (tmp_path / "d").write_bytes(b"333")
    assert states("d", "b", "c") == [3, 2, 1]
    assert encoded == ["a", "b", "d"]
    # A damaged cache is computed again.
    (tmp_path / "means-e.npz").write_bytes(b"PK\3\4")
    assert states("b") == [2]
    # So is one of older code.
    monkeypatch.setattr("bench.systems.imagestates._CODE", 0)
    assert states("b") == [2]
    assert encoded == ["a", "b", "d", "b", "b"]
    with pytest.raises(UserError, match="nowhere: no such file"):
        states("nowhere")


def test_what_generators_share_is_prepared_once_for_all_seeds(
    training: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared: list[RetrievalSystem] = []
    monkeypatch.setattr(RetrievalSystem, "prepare", lambda system, _: prepared.append(system))
    systems = [_system(training, choice) for choice in CHOICES]
    seeds = [systems[0].at({"seed": seed}) for seed in range(3)]
    monkeypatch.setattr(executor, "_generating", lambda _: [*seeds, *systems[1:]])
    executor._prepare_systems(Mock(), lambda *_: None, lambda: False)
    assert prepared == systems


def test_the_nearest_image_s_recording_is_played(training: Path, scenes: Dataset) -> None:
    system = _system(training, CHOICES[0])
    by_seed = _chosen([system.at({"seed": seed}) for seed in range(6)], scenes)
    # A scene looks most like its own copy, and the seed draws one of that image's captions.
    names = [name[:-4] for name in (training / "Flickr_8k.trainImages.txt").read_text().split()]
    for chosen in by_seed.values():
        assert [name.split("#")[0] for name in chosen] == names
    assert len({chosen[0] for chosen in by_seed.values()}) > 1
    # What is played is the training set's file.
    name = by_seed["0"][0]
    wave, rate = system.sound(
        ToTranscribe(row=SpeechRow(item="a", status="ok", file=name), item=scenes.items[0])
    )
    file = training / "flickr_audio" / "wavs" / f"{name.replace('#', '_')}.wav"
    assert np.array_equal(wave, read_speech(file, rate))


def test_a_node_without_the_training_data_plays_the_same(
    training: Path, scenes: Dataset, tmp_path: Path
) -> None:
    # Where a recording may have to be encoded, only the driver's machine can do it.
    played = _system(training, CHOICES[0] | CODEC).shared()
    assert played.gathered(tmp_path / "0.npz").reads_training()
    systems = [_system(training, choice) for choice in CHOICES]
    systems[1].prepare(lambda *_: None)
    systems.append(_system(training, CHOICES[0] | CODEC))
    before = _rows(systems, scenes)
    shared = {system.shared(): None for system in systems}
    there = {system: system.gathered(tmp_path / f"{n}.npz") for n, system in enumerate(shared)}
    assert not any(system.reads_training() for system in there.values())
    training.rename(tmp_path / "away")
    for number, system in enumerate(systems):
        generator = pickle.loads(pickle.dumps(there[system.shared()])).generator("cpu")
        asked = [(item, (Variant("k", 0, system),)) for item in scenes.items[:3]]
        assert [row for _, row in generator.generate(asked)] == before[str(number)]


def test_without_text_no_word_of_a_caption_matters(training: Path, scenes: Dataset) -> None:
    lookup = Lookup(scenes)
    systems = [_system(training, choice) for choice in CHOICES]
    before = _chosen(systems, scenes)
    keys = [system.content(lookup).depends for system in systems]
    assert [system.in_training() for system in systems] == [
        "retrieval",
        "retrieval",
        "text in between",
    ]
    # The same images and recordings, in another place, with other words.
    moved = Path(shutil.copytree(training, training.parent / "moved"))
    tokens = moved / "Flickr8k.token.txt"
    words = random.Random(0)
    lines = [line.partition("\t")[0].split(" ")[0] for line in tokens.read_text().splitlines()]
    tokens.write_text(
        "".join(f"{line}\t{words.choice(['a kite', 'two boats', 'rain'])}\n" for line in lines)
    )
    again = [_system(moved, choice) for choice in CHOICES]
    same = [system.content(lookup).depends == key for system, key in zip(again, keys, strict=True)]
    assert same == [True, True, False]
    after = _chosen(again, scenes)
    assert [after[key] for key in "01"] == [before[key] for key in "01"]
    # Another recording is another system.
    spoken = sorted((moved / "flickr_audio" / "wavs").glob("*.wav"))
    shutil.copy(spoken[1], spoken[0])
    assert again[0].content(Lookup(scenes)).depends != keys[0]


def test_through_a_codec_stored_units_are_played_and_no_sound_is_needed(
    training: Path, scenes: Dataset
) -> None:
    codec = Codec.load("zoo:encodec-tiny", 1.6)
    rng = np.random.default_rng(0)
    names = (training / "Flickr_8k.trainImages.txt").read_text().split()
    # Two of each image's five captions have units.
    units = {
        f"{Path(name).stem}_{number}": rng.integers(0, 64, (4, 20 + number)).astype(np.uint8)
        for name in names
        for number in (1, 3)
    }
    (training / "narrated").mkdir()
    (training / "narrated" / "wav2capt.txt").touch()
    file = training / "narrated" / "units.npz"
    write_packed(file, codec.digest, units)
    choices = [choice | CODEC for choice in CHOICES]
    systems = [_system(training, choice, "narrated") for choice in choices]
    systems[1].prepare(lambda *_: None)
    for rows in _rows(systems, scenes).values():
        for row in rows:
            assert np.array_equal(row.array, units[row.file.replace("#", "_")])
    # Where there is sound only, it is encoded.
    recorded = _system(training, choices[0])
    audio = training / "flickr_audio"
    for row in _rows([recorded], scenes)["0"]:
        wave = read_speech(audio / "wavs" / f"{row.file.replace('#', '_')}.wav", codec.sample_rate)
        assert np.array_equal(row.array, codec.encode(wave).numpy())
    # A key depends on what is played.
    lookup = Lookup(scenes)
    keys = {str(system.content(lookup).depends) for system in [*systems, recorded]}
    assert len(keys) == 4
    units[min(units)][0, 0] ^= 1
    write_packed(file, codec.digest, units)
    assert str(systems[0].content(Lookup(scenes)).depends) not in keys
    with pytest.raises(UserError, match="units and no sound; name the units' codec and bandwidth"):
        _system(training, CHOICES[0], "narrated").content(lookup)
    write_packed(file, "0" * 16, units)
    with pytest.raises(UserError, match=f"no units by the codec {codec.digest} with 4 codebooks"):
        systems[0].content(Lookup(scenes))


@pytest.mark.parametrize(
    "choice",
    [
        {"choose": "consensus-units"},
        {"choose": "consensus-words", "seed": 1},
        {"choose": "nearest", "codec": "zoo:encodec-tiny"},
        {"neighbours": 3},
    ],
)
def test_an_option_that_the_choice_does_not_use_is_refused(
    training: Path, choice: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="keys"):
        _system(training, choice)
