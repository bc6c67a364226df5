"""Draws a scene's picture: the place behind, the subjects and their objects in front.

One SVG document is written and rasterised once, so a picture is a function of its scene.
"""

import io
import random

import numpy as np
import numpy.typing as npt

from bench.datasets.scenes import emoji
from bench.datasets.scenes.world import Scene

SIZE = 128
"""Width and height of a picture in pixels; the SVG's own units are the same."""

_ANIMALS = {
    "dog": "1F415",
    "cat": "1F408",
    "horse": "1F40E",
    "cow": "1F404",
    "rabbit": "1F407",
    "sheep": "1F411",
    "elephant": "1F418",
    "duck": "1F986",
    "penguin": "1F427",
    "camel": "1F42A",
}
_POSES = {
    "stand": "1F9CD",
    "walk": "1F6B6",
    "dog": "1F6B6",
    "run": "1F3C3",
    "soccer": "1F3C3",
    "bike": "1F6B4",
    "surf": "1F3C4",
    "swim": "1F3CA",
    "row": "1F6A3",
    "climb": "1F9D7",
    "basketball": "26F9-FE0F",
    "cartwheel": "1F938",
    "skateboard": "1F9CD",
    "kite": "1F9CD",
}
_ANYONE = {"ski": "26F7", "snowboard": "1F3C2"}
_DANCERS = {"man": "1F57A", "boy": "1F57A", "woman": "1F483", "girl": "1F483"}
_GENDERS = {"man": "2642", "boy": "2642", "woman": "2640", "girl": "2640"}

# place -> (sky, ground, emoji strewn along the horizon, how many of them)
_SCENERY: dict[str, tuple[str, str, str, int]] = {
    "beach": ("#8fd3ff", "#f2d58c", "1F334", 2),
    "park": ("#a8dcff", "#6cbf4b", "1F333", 3),
    "snow": ("#c9d6e6", "#f4f8fc", "1F332", 2),
    "street": ("#b9c4cf", "#77797d", "1F3E0", 3),
    "lake": ("#a8dcff", "#3a8fd0", "1F332", 3),
    "mountains": ("#9cc9f0", "#9aa58a", "1F3D4", 3),
    "desert": ("#ffd9a0", "#e3a857", "1F335", 3),
    "forest": ("#7fae83", "#4b7a3d", "1F332", 6),
}


def _place(fragment: str, x: float, y: float, size: float, *, extra: str = "") -> str:
    """Returns an SVG group with an emoji of 72 units, centred at x with its feet at y."""
    scale = size / 72
    move = f"translate({x - size / 2:.2f},{y - size:.2f}) scale({scale:.4f}) {extra}"
    return f'<g transform="{move}">{fragment}</g>'


def _background(scene: Scene, rng: random.Random) -> str:
    sky, ground, code, number = _SCENERY[scene.place]
    horizon = 58 + rng.uniform(-5, 5)
    parts = [
        f'<rect width="{SIZE}" height="{SIZE}" fill="{sky}"/>',
        f'<rect y="{horizon}" width="{SIZE}" height="{SIZE}" fill="{ground}"/>',
    ]
    if scene.place == "beach" or (scene.place == "desert" and rng.random() < 0.5):
        parts.append(f'<circle cx="{rng.uniform(10, 118):.1f}" cy="14" r="8" fill="#ffe066"/>')
    if scene.place == "beach":
        depth = 60 if scene.action == "surf" else 14
        parts.append(f'<rect y="{horizon}" width="{SIZE}" height="{depth}" fill="#2f86c9"/>')
    if scene.place == "street":
        parts.append(f'<rect y="{horizon}" width="{SIZE}" height="8" fill="#c9c9c4"/>')
        parts += [
            f'<rect x="{x}" y="102" width="16" height="4" fill="#f5f0d0"/>'
            for x in (4, 40, 76, 112)
        ]
    for index in range(number):
        x = (index + rng.uniform(0.2, 0.8)) * SIZE / number
        size = (
            rng.uniform(58, 74) if scene.place in ("mountains", "forest") else rng.uniform(34, 46)
        )
        foot = horizon + rng.uniform(2, 7) + (size * 0.17 if scene.place == "mountains" else 0)
        parts.append(_place(emoji.thing(code), x, foot, size))
    if scene.place == "snow":
        parts += [
            f'<circle cx="{rng.uniform(0, SIZE):.1f}" cy="{rng.uniform(0, SIZE):.1f}" r="1.6"'
            ' fill="#fff"/>'
            for _ in range(30)
        ]
    return "".join(parts)


def _person(scene: Scene, x: float, y: float) -> str:
    size = 66 if scene.subject in ("man", "woman") else 42
    if scene.action in _ANYONE:
        code = _ANYONE[scene.action]
    elif scene.action == "dance":
        code = _DANCERS[scene.subject]
    else:
        code = f"{_POSES[scene.action]}-200D-{_GENDERS[scene.subject]}-FE0F"
    parts = []
    if scene.action == "skateboard":
        parts.append(_place(emoji.thing("1F6F9"), x, y + size * 0.34, size * 0.75))
    parts.append(_place(emoji.person(code, scene.subject, scene.colour), x, y, size))
    if scene.action == "kite":
        parts.append(_place(emoji.thing("1FA81"), x + 30, y - size * 0.55, 40))
    if scene.action == "soccer":
        parts.append(_place(emoji.thing("26BD"), x + size * 0.55, y + 2, 17))
    if scene.action == "dog":
        dog = emoji.animal("1F415", scene.companion_colour)
        parts.append(_place(dog, x + size * 0.62 + 4, y + 4, 36))
    return "".join(parts)


def _animal(scene: Scene, x: float, y: float, size: float, *, rng: random.Random) -> str:
    body = emoji.animal(_ANIMALS[scene.subject], scene.colour)
    parts = []
    if scene.action == "jump":
        parts.append(f'<ellipse cx="{x}" cy="{y}" rx="{size * 0.3}" ry="3" fill="#0005"/>')
        parts.append(_place(emoji.thing("1FAB5"), x, y + 3, size * 0.45))
        parts.append(_place(body, x, y - size * 0.42, size, extra="rotate(14 36 36)"))
    elif scene.action == "sleep":
        parts.append(
            _place(
                body,
                x,
                y + size * 0.06,
                size,
                extra="rotate(180 36 40) scale(-1 1) translate(-72 0)",
            )
        )
        parts.append(_place(emoji.thing("1F4A4"), x + size * 0.36, y - size * 0.62, 22))
    else:
        parts.append(_place(body, x, y, size))
    if scene.action == "run":
        # OpenMoji's animals look left, so the dust is on the right.
        parts.append(
            _place(
                emoji.thing("1F4A8"),
                x + size * 0.58,
                y,
                size * 0.4,
                extra="scale(-1 1) translate(-72 0)",
            )
        )
    if scene.action == "ball":
        parts.append(_place(emoji.thing("1F3BE"), x - size * 0.55, y + 2, 17))
    if scene.action == "frisbee":
        parts.append(_place(emoji.thing("1F94F"), x - size * 0.3, y - size * 0.72, 26))
    if scene.action == "eat":
        parts.append(_place(emoji.thing("1F33F"), x - size * 0.52, y + 4, 22))
    if scene.action == "swim":
        top = y - size * 0.42
        parts.append(
            f'<rect x="{x - size * 0.55}" y="{top}" width="{size * 1.1}" height="{size * 0.46}"'
            ' rx="5" fill="#3a8fd0"/>'
            f'<path d="M{x - size * 0.5},{top + 2} q6,-5 12,0 t12,0 t12,0" stroke="#fff"'
            ' stroke-width="2" fill="none"/>'
        )
    return "".join(parts)


def svg(scene: Scene) -> str:
    """Returns the scene as an SVG document of `SIZE` × `SIZE`."""
    rng = random.Random(scene.layout)
    parts = [_background(scene, rng)]
    for index in range(scene.count):
        x = SIZE * (index + 1) / (scene.count + 1) + rng.uniform(-7, 7)
        y = 112 + rng.uniform(-8, 10)
        if scene.is_person:
            off = -16 if scene.action in ("dog", "kite", "soccer") else 0
            parts.append(_person(scene, x + off, y))
        else:
            size = 60 if scene.count == 1 else (50 if scene.count == 2 else 40)
            parts.append(_animal(scene, x, y, size, rng=rng))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIZE} {SIZE}"'
        f' width="{SIZE}" height="{SIZE}">{"".join(parts)}</svg>'
    )


def draw_array(scene: Scene) -> npt.NDArray[np.uint8]:
    """Returns the scene as pixels `[SIZE, SIZE, 3]`."""
    import resvg_py
    from PIL import Image

    picture = Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg(scene)))))
    return np.array(picture.convert("RGB"))


def draw(scene: Scene) -> bytes:
    """Returns the scene as a PNG of `SIZE` × `SIZE` pixels, with a palette to save bytes."""
    from PIL import Image

    palette = Image.fromarray(draw_array(scene)).quantize(128, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    palette.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
