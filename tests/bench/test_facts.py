"""Facts of scenes: nothing that is true is counted as wrong, and nothing that is wrong as true."""

import numpy as np
import pytest

from bench.datasets.base import Dataset
from bench.datasets.scenes.captions import captions
from bench.datasets.scenes.facts import KINDS, said, truth
from bench.datasets.scenes.world import sample_scene
from bench.metrics.facts import Facts


def test_what_captions_say_of_their_scenes_is_true_and_found() -> None:
    for index in range(1500):
        scene = sample_scene("val", index, 7)
        true = dict(fact.split(": ") for fact in truth(scene))
        assert tuple(true) == KINDS
        for text in captions(scene, "val", index, 7):
            facts = said(text)
            assert all(value in true[kind].split("|") for kind, value in facts.items()), text
            assert {"subject", "number", "action"} <= facts.keys(), text


def test_the_shipped_pictures_have_the_facts_of_their_scenes(scenes: Dataset) -> None:
    for index, item in enumerate(scenes.items):
        assert item.facts == truth(sample_scene("test", index))


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("two women in red are walking a black dog on the sand", "woman 2 red dog beach"),
        ("a dog is jumping for a blue frisbee outside", "dog 1 - frisbee -"),
        ("a group of sheep are eating in a green field", "sheep several - eat park"),
        ("there is an elephant playing with a ball in the hot sand", "elephant 1 - ball desert"),
        ("you", "- - - - -"),
    ],
)
def test_a_text_says_these_facts(text: str, facts: str) -> None:
    assert " ".join(said(text).get(kind, "-") for kind in KINDS) == facts


def test_precision_and_recall_are_of_all_items_together(scenes: Dataset) -> None:
    metric, facts = Facts(), {"a": truth(sample_scene("test", 0)), "b": scenes.items[1].facts}
    # Of a man in black who plays basketball in the street: three facts, of which one is wrong.
    sums = metric.statistics({"a": "a man is rowing a boat", "b": ""}, facts).sum(0)
    assert sums.tolist() == [2, 3, 10]
    precision, recall, f1 = metric.score(sums)
    assert precision == pytest.approx(200 / 3)
    assert recall == pytest.approx(20)
    assert f1 == pytest.approx(2 * precision * recall / (precision + recall))


def test_people_say_what_is_true_and_another_picture_s_captions_do_not(scenes: Dataset) -> None:
    metric = Facts()
    facts = {item.id: item.facts for item in scenes.items}
    own = {item.id: item.captions[0].text for item in scenes.items}
    others = dict(zip(own, [*list(own.values())[1:], next(iter(own.values()))], strict=True))
    ours, theirs = (metric.score(metric.statistics(s, facts).sum(0)) for s in (own, others))
    assert ours[0] == 100
    assert ours[2] > 85
    # Half of all pictures show one of something; the rest is chance among many.
    assert theirs[2] < 40
    assert np.all(theirs < ours)
