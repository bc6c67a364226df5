"""The world of the scenes: what may be in a picture, and a scene drawn from a seed.

Picture and captions are functions of a scene. There are a few hundred thousand scenes. As in
Flickr8k, they show people and animals: how many, what they wear, what they do, and where.
"""

import random
from dataclasses import dataclass

PEOPLE = ("man", "woman", "boy", "girl")
SHIRTS = ("red", "blue", "green", "yellow", "white", "black")
PLACES = ("beach", "park", "snow", "street", "lake", "mountains", "desert", "forest")

ANIMAL_COLOURS: dict[str, tuple[str, ...]] = {
    "dog": ("brown", "black", "white"),
    "cat": ("orange", "black", "gray"),
    "horse": ("brown", "black", "white"),
    "cow": ("brown", "black"),
    "rabbit": ("white", "brown"),
    "sheep": ("white",),
    "elephant": ("gray",),
    "duck": ("brown", "white"),
    "penguin": ("black",),
    "camel": ("brown",),
}

ANIMAL_PLACES: dict[str, tuple[str, ...]] = {
    "dog": PLACES,
    "cat": ("park", "street", "forest", "snow"),
    "horse": ("beach", "park", "mountains", "desert", "snow"),
    "cow": ("park", "mountains", "street"),
    "rabbit": ("park", "forest", "snow"),
    "sheep": ("park", "mountains"),
    "elephant": ("desert", "forest", "lake"),
    "duck": ("lake", "park", "beach"),
    "penguin": ("snow", "beach"),
    "camel": ("desert", "beach"),
}

ANIMAL_ACTIONS: dict[str, tuple[str, ...]] = {
    "dog": ("stand", "run", "jump", "ball", "frisbee", "swim", "sleep"),
    "cat": ("stand", "run", "jump", "ball", "sleep"),
    "horse": ("stand", "run", "jump", "eat"),
    "cow": ("stand", "eat", "sleep"),
    "rabbit": ("stand", "jump", "eat"),
    "sheep": ("stand", "run", "eat"),
    "elephant": ("stand", "run", "ball", "swim"),
    "duck": ("stand", "run", "swim"),
    "penguin": ("stand", "run", "jump"),
    "camel": ("stand", "run", "sleep"),
}

PEOPLE_ACTIONS: dict[str, tuple[str, ...]] = {
    "beach": ("stand", "walk", "run", "surf", "kite", "basketball", "cartwheel", "dog", "dance"),
    "park": ("stand", "walk", "run", "bike", "soccer", "basketball", "kite", "cartwheel", "dog"),
    "snow": ("stand", "walk", "ski", "snowboard", "run", "dog"),
    "street": ("stand", "walk", "run", "bike", "skateboard", "basketball", "dance", "dog"),
    "lake": ("swim", "row", "surf"),
    "mountains": ("stand", "walk", "climb", "bike", "dog"),
    "desert": ("stand", "walk", "run", "bike", "dog"),
    "forest": ("stand", "walk", "run", "bike", "dog"),
}

IN_WATER = ("swim", "row", "surf")


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One picture's content; `layout` is the seed of positions and scenery."""

    subject: str
    count: int
    colour: str
    action: str
    place: str
    companion_colour: str
    layout: int

    @property
    def is_person(self) -> bool:
        return self.subject in PEOPLE


def _animal(rng: random.Random) -> Scene:
    weights = [4 if name == "dog" else 1 for name in ANIMAL_COLOURS]
    subject = rng.choices(list(ANIMAL_COLOURS), weights)[0]
    place = rng.choice(ANIMAL_PLACES[subject])
    allowed = ANIMAL_ACTIONS[subject]
    actions = [a for a in allowed if (a == "swim") == (place == "lake")] or ["stand"]
    if place == "snow":
        actions = [a for a in actions if a != "eat"]
    return Scene(
        subject=subject,
        count=rng.choices((1, 2, 3), (6, 3, 2))[0],
        colour=rng.choice(ANIMAL_COLOURS[subject]),
        action=rng.choice(actions),
        place=place,
        companion_colour="",
        layout=rng.getrandbits(31),
    )


def _people(rng: random.Random) -> Scene:
    place = rng.choice(PLACES)
    action = rng.choice(PEOPLE_ACTIONS[place])
    single = action in ("dog", "kite", "row", "soccer")
    return Scene(
        subject=rng.choice(PEOPLE),
        count=1 if single else rng.choices((1, 2), (7, 3))[0],
        colour=rng.choice(SHIRTS),
        action=action,
        place=place,
        companion_colour=rng.choice(ANIMAL_COLOURS["dog"]) if action == "dog" else "",
        layout=rng.getrandbits(31),
    )


def sample_scene(split: str, index: int, seed: int = 0) -> Scene:
    """Returns a split's scene by index; the same arguments give the same scene everywhere."""
    rng = random.Random(f"scenes/{seed}/{split}/{index}")
    return _people(rng) if rng.random() < 0.55 else _animal(rng)
