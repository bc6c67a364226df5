"""Writes five captions of a scene that differ in wording and detail.

Each caption draws its own noun, tense and word order, and whether colour, number and place are
mentioned. A caption mentions nothing that is not in the picture.
"""

import random

from bench.datasets.scenes.world import IN_WATER, PEOPLE, Scene

CAPTIONS_PER_IMAGE = 5

_NOUNS: dict[str, tuple[tuple[str, str], ...]] = {
    "man": (("man", "men"), ("man", "men"), ("guy", "guys"), ("person", "people")),
    "woman": (("woman", "women"), ("woman", "women"), ("lady", "ladies"), ("person", "people")),
    "boy": (("boy", "boys"), ("little boy", "little boys"), ("child", "children")),
    "girl": (("girl", "girls"), ("little girl", "little girls"), ("child", "children")),
    "dog": (("dog", "dogs"), ("dog", "dogs"), ("dog", "dogs"), ("puppy", "puppies")),
    "cat": (("cat", "cats"), ("cat", "cats"), ("kitten", "kittens")),
    "rabbit": (("rabbit", "rabbits"), ("bunny", "bunnies")),
    "sheep": (("sheep", "sheep"),),
}

# (ing, singular, plural) verb forms with what follows them; {} takes the scene's other noun.
_VERBS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "stand": (("standing", "stands", "stand"), ("waiting", "waits", "wait")),
    "walk": (("walking", "walks", "walk"), ("taking a walk", "takes a walk", "take a walk")),
    "run": (("running", "runs", "run"), ("racing", "races", "race")),
    "jump": (
        ("jumping over a log", "jumps over a log", "jump over a log"),
        ("leaping over a log", "leaps over a log", "leap over a log"),
        ("jumping in the air", "jumps in the air", "jump in the air"),
    ),
    "ball": (
        ("playing with a ball", "plays with a ball", "play with a ball"),
        ("chasing a yellow ball", "chases a yellow ball", "chase a yellow ball"),
        ("chasing a ball", "chases a ball", "chase a ball"),
    ),
    "frisbee": (
        ("catching a frisbee", "catches a frisbee", "catch a frisbee"),
        ("jumping for a blue frisbee", "jumps for a blue frisbee", "jump for a blue frisbee"),
        ("playing with a frisbee", "plays with a frisbee", "play with a frisbee"),
    ),
    "swim": (("swimming", "swims", "swim"), ("swimming", "swims", "swim")),
    "sleep": (("sleeping", "sleeps", "sleep"), ("taking a nap", "takes a nap", "take a nap")),
    "eat": (("eating grass", "eats grass", "eat grass"), ("eating", "eats", "eat")),
    "bike": (
        ("riding a bike", "rides a bike", "ride a bike"),
        ("riding a bicycle", "rides a bicycle", "ride a bicycle"),
        ("biking", "bikes", "bike"),
    ),
    "surf": (
        ("surfing", "surfs", "surf"),
        ("riding a wave", "rides a wave", "ride a wave"),
        ("surfing on a wave", "surfs on a wave", "surf on a wave"),
    ),
    "row": (
        ("rowing a boat", "rows a boat", "row a boat"),
        ("sitting in a small boat", "sits in a small boat", "sit in a small boat"),
    ),
    "climb": (
        ("climbing a rock", "climbs a rock", "climb a rock"),
        ("climbing a cliff", "climbs a cliff", "climb a cliff"),
        ("rock climbing", "goes rock climbing", "go rock climbing"),
    ),
    "ski": (
        ("skiing", "skis", "ski"),
        ("skiing down a hill", "skis down a hill", "ski down a hill"),
    ),
    "snowboard": (
        ("snowboarding", "snowboards", "snowboard"),
        ("riding a snowboard", "rides a snowboard", "ride a snowboard"),
    ),
    "skateboard": (
        ("riding a skateboard", "rides a skateboard", "ride a skateboard"),
        ("skateboarding", "skateboards", "skateboard"),
    ),
    "basketball": (
        ("playing basketball", "plays basketball", "play basketball"),
        ("bouncing a ball", "bounces a ball", "bounce a ball"),
    ),
    "soccer": (
        ("playing soccer", "plays soccer", "play soccer"),
        ("kicking a soccer ball", "kicks a soccer ball", "kick a soccer ball"),
        ("kicking a ball", "kicks a ball", "kick a ball"),
    ),
    "kite": (
        ("flying a kite", "flies a kite", "fly a kite"),
        ("playing with a pink kite", "plays with a pink kite", "play with a pink kite"),
    ),
    "cartwheel": (
        ("doing a cartwheel", "does a cartwheel", "do a cartwheel"),
        ("doing a handstand", "does a handstand", "do a handstand"),
    ),
    "dance": (("dancing", "dances", "dance"),),
    "dog": (
        ("walking with {}", "walks with {}", "walk with {}"),
        ("walking {}", "walks {}", "walk {}"),
        ("playing with {}", "plays with {}", "play with {}"),
    ),
}

_PLACES: dict[str, tuple[str, ...]] = {
    "beach": ("on the beach", "on the beach", "along the beach", "on the sand", "by the ocean"),
    "park": ("in the park", "in the park", "in the grass", "on the grass", "in a green field"),
    "snow": ("in the snow", "in the snow", "through the snow", "on a snowy day"),
    "street": ("on the street", "on the street", "down the street", "in the city", "on the road"),
    "lake": ("in the lake", "in the lake", "in the water", "on the water"),
    "mountains": ("in the mountains", "in the mountains", "on a mountain", "near the mountains"),
    "desert": ("in the desert", "in the desert", "through the desert", "in the hot sand"),
    "forest": ("in the forest", "in the forest", "through the woods", "near some trees"),
}
_MOVING = ("walk", "run", "bike", "dog")
_MOVING_ONLY = ("along", "through", "down")
_COUNTS = {2: ("two", "two", "two", "a pair of"), 3: ("three", "three", "a group of", "some")}
_ANY_PLACE = ("outside", "outdoors")


def _article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def _noun_phrase(scene: Scene, rng: random.Random) -> tuple[str, bool]:
    """Returns the subject's phrase, and whether its verb is plural."""
    fallback = ((scene.subject, scene.subject + "s"),)
    singular, plural = rng.choice(_NOUNS.get(scene.subject, fallback))
    colour = scene.colour if rng.random() < 0.55 else ""
    if scene.subject in PEOPLE:
        noun, many = singular, plural
        wear: tuple[str, ...] = ("in {}", "in a {} shirt", "wearing a {} shirt", "wearing {}")
        if scene.action in ("ski", "snowboard"):
            wear = ("in {}", "in a {} jacket", "wearing a {} jacket")
        if scene.count > 1:
            wear = ("in {}", "wearing {}", "in {} shirts")
        tail = " " + rng.choice(wear).format(colour) if colour else ""
    else:
        noun, many = (f"{colour} {n}".strip() for n in (singular, plural))
        tail = ""
    if scene.count == 1:
        return _article(noun) + tail, False
    return f"{rng.choice(_COUNTS[scene.count])} {many}{tail}", True


def _place_phrase(scene: Scene, rng: random.Random) -> str:
    if scene.action == "surf":
        return rng.choice(("in the ocean", "in the water", "in the sea"))
    if scene.action == "row":
        return rng.choice(("on the lake", "on the water"))
    choices = [
        p for p in _PLACES[scene.place] if scene.action in _MOVING or not p.startswith(_MOVING_ONLY)
    ]
    if scene.place == "lake" and scene.action in IN_WATER:
        choices = [p for p in choices if not p.startswith("on ")]
    return rng.choice(choices)


def caption(scene: Scene, rng: random.Random) -> str:
    """Returns one caption in lower case, without punctuation."""
    subject, plural = _noun_phrase(scene, rng)
    verbs = _VERBS[scene.action]
    forms = verbs[0] if rng.random() < 0.5 else rng.choice(verbs)
    colour = scene.companion_colour if rng.random() < 0.5 else ""
    dog = _article(f"{colour} dog".strip())
    ing, third, base = (form.format(dog) for form in forms)
    finite = base if plural else third
    place = _place_phrase(scene, rng)
    style = rng.random()
    if style < 0.35:
        return f"{subject} {'are' if plural else 'is'} {ing} {place}"
    if style < 0.65:
        return f"{subject} {finite} {place}"
    if style < 0.82:
        return f"{subject} {ing} {place}"
    if style < 0.88:
        return f"{subject} {'are' if plural else 'is'} {ing} {rng.choice(_ANY_PLACE)}"
    if style < 0.94:
        return f"{subject} {finite}"
    return f"there {'are' if plural else 'is'} {subject} {ing} {place}"


def captions(scene: Scene, split: str, index: int, seed: int = 0) -> tuple[str, ...]:
    """Returns five different captions."""
    rng = random.Random(f"captions/{seed}/{split}/{index}")
    texts: dict[str, None] = {}
    while len(texts) < CAPTIONS_PER_IMAGE:
        texts[caption(scene, rng)] = None
    return tuple(texts)
