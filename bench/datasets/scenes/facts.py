"""Facts of a scene, and those that a text states: subject, number, colour, action and place.

The truth is the scene that the picture was drawn from, not what its captions mention. A fact is
`KIND: VALUE`, of the truth `KIND: VALUE|VALUE` with all names that are right: a man is a person
too, and who surfs is in the water.
"""

import re
from collections.abc import Iterator, Sequence

from bench.datasets.scenes.world import ANIMAL_COLOURS, IN_WATER, SHIRTS, Scene

KINDS = ("subject", "number", "colour", "action", "place")

_SUBJECTS = {
    "man": "man men guy guys",
    "woman": "woman women lady ladies",
    "boy": "boy boys",
    "girl": "girl girls",
    "person": "person people",
    "child": "child children",
    "dog": "dog dogs puppy puppies",
    "cat": "cat cats kitten kittens",
    "rabbit": "rabbit rabbits bunny bunnies",
    **{name: f"{name} {name}s" for name in ANIMAL_COLOURS if name not in ("dog", "cat", "rabbit")},
}
_ALSO = {"man": "person", "woman": "person", "boy": "child", "girl": "child"}
_NAMED = {word: name for name, words in _SUBJECTS.items() for word in words.split()}
_NUMBERS = (
    (r"\b(two|a pair of)\b", "2"),
    (r"\bthree\b", "3"),
    (r"\b(a group of|some)\b", "several"),
    (r"\b(a|an|one)\b", "1"),
)
_COLOURS = sorted({*SHIRTS, *(c for colours in ANIMAL_COLOURS.values() for c in colours)})
_NOT_OF_THE_SUBJECT = re.compile(r"\b(yellow ball|blue frisbee|pink kite|green field)s?\b")
# The first that fits counts, so what is said with a thing comes before what one does without.
_ACTIONS = (
    (r"frisbee", "frisbee"),
    (r"kite", "kite"),
    (r"snowboard", "snowboard"),
    (r"skateboard", "skateboard"),
    (r"\bski(s|ing)?\b", "ski"),
    (r"surf|\bwaves?\b", "surf"),
    (r"basketball|\bbounc\w+ a ball", "basketball"),
    (r"soccer|\bkick\w* a ball", "soccer"),
    (r"\bcartwheel|\bhandstand", "cartwheel"),
    (r"\bdanc\w+", "dance"),
    (r"\bbik(e|es|ing)\b|bicycle", "bike"),
    (r"\brow(s|ing)? a|\bboat\b", "row"),
    (r"climb", "climb"),
    (r"swim", "swim"),
    (r"\bball\b", "ball"),
    (r"sleep|\bnap\b", "sleep"),
    (r"\beat(s|ing)?\b", "eat"),
    (r"jump|leap", "jump"),
    (r"\b(walk|play)\w* (with )?an? (\w+ )?dog\b", "dog"),
    (r"walk", "walk"),
    (r"\brun(s|ning)?\b|\brac(e|es|ing)\b", "run"),
    (r"\bstand|\bwait", "stand"),
)
_PLACES = (
    (r"\bhot sand\b|\bdesert\b", "desert"),
    (r"\bbeach\b|\bsand\b", "beach"),
    (r"\bby the ocean\b", "beach"),
    (r"\bocean\b|\bsea\b", "sea"),
    (r"\bwater\b", "water"),
    (r"\blake\b", "lake"),
    (r"\bpark\b|\b(in|on) the grass\b|\bgreen field\b", "park"),
    (r"\bsnow\b|\bsnowy\b", "snow"),
    (r"\bstreet\b|\bcity\b|\broad\b", "street"),
    (r"\bmountains?\b", "mountains"),
    (r"\bforest\b|\bwoods\b|\btrees\b", "forest"),
)


def truth(scene: Scene) -> tuple[str, ...]:
    """Returns all facts of a scene, in the order of KINDS."""
    subject = [scene.subject, *([_ALSO[scene.subject]] if scene.subject in _ALSO else [])]
    place = [scene.place]
    if scene.action in IN_WATER or scene.place == "lake":
        place += ["water"]
    if scene.action == "surf":
        place += ["sea", "beach", "lake"]
    if scene.action == "row":
        place += ["lake"]
    number = [str(scene.count), *(["several"] if scene.count == 3 else [])]
    values = (subject, number, [scene.colour], [scene.action], place)
    return tuple(f"{kind}: {'|'.join(names)}" for kind, names in zip(KINDS, values, strict=True))


def scene_of(facts: Sequence[str]) -> Scene:
    """Returns the scene of these facts, without what facts do not state: companion and layout."""
    subject, number, colour, action, place = (
        fact.partition(": ")[2].split("|")[0] for fact in facts
    )
    return Scene(
        subject=subject,
        count=int(number),
        colour=colour,
        action=action,
        place=place,
        companion_colour="",
        layout=0,
    )


def _first(text: str, patterns: Sequence[tuple[str, str]]) -> str:
    return next((name for pattern, name in patterns if re.search(pattern, text)), "")


def _read_facts(text: str) -> Iterator[tuple[str, str]]:
    words = text.split()
    at = next((place for place, word in enumerate(words) if word in _NAMED), None)
    subject = _NAMED[words[at]] if at is not None else ""
    yield "subject", subject
    yield "number", _first(" ".join(words[: at if at is not None else 0]), _NUMBERS)
    plain = _NOT_OF_THE_SUBJECT.sub(" ", text).split()
    coloured = [place for place, word in enumerate(plain) if word in _COLOURS]
    # Beside a person, the colour before a dog is the dog's.
    if subject not in ("", "dog"):
        coloured = [n for n in coloured if plain[n + 1 : n + 2] not in (["dog"], ["dogs"])]
    yield "colour", plain[coloured[0]] if coloured else ""
    yield "action", _first(text, _ACTIONS)
    yield "place", _first(text, _PLACES)


def said(text: str) -> dict[str, str]:
    """Returns the facts that a tokenised text states, KIND → value; others are left out."""
    return {kind: value for kind, value in _read_facts(text) if value}
