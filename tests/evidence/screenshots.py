"""Screenshots of a page: every view, light and dark, wide and narrow."""

from collections.abc import Sequence
from pathlib import Path

from bench.commands.options import Parser, path
from bench.common.errors import UserError
from tests.evidence.browser import opened_browser
from tests.evidence.program import program

WIDTHS = (1280, 360)
_HEIGHT = 800


def run(page: Path, folder: Path, item: str) -> int:
    """Writes `VIEW-SCHEME-WIDTH.png` of a page into a folder; raises UserError without a page."""
    if not page.is_file():
        raise UserError(f"{page}: no such page; make it with pixvox report RUN")
    places = {"overview": "#/", "items": "#/items", "compare": "#/compare", "listen": "#/listen"}
    places |= {"item": f"#/item/{item}"} if item else {}
    with opened_browser() as browser:
        for scheme in ("light", "dark"):
            for width in WIDTHS:
                context = browser.new_context(
                    viewport={"width": width, "height": _HEIGHT},
                    color_scheme="dark" if scheme == "dark" else "light",
                    offline=True,
                )
                for view, place in places.items():
                    shown = context.new_page()
                    shown.goto(f"{page.absolute().as_uri()}{place}")
                    # Pictures are decoded one after the other; those far below never are.
                    shown.evaluate(
                        """() => Promise.all([...document.images]
                            .filter((one) => one.src && one.getBoundingClientRect().top < 800)
                            .map((one) => one.decode()))"""
                    )
                    shown.screenshot(path=folder / f"{view}-{scheme}-{width}.png")
                    shown.close()
                context.close()
    print(f"{folder}: {4 * len(places)} pictures")
    return 0


def main(words: Sequence[str]) -> int:
    """Takes what the command line asks for; the exit code."""
    parser = Parser(
        prog="python -m tests.evidence.screenshots",
        description="Pictures of a page, light, dark and narrow.",
    )
    parser.add_argument("page", type=path, help="what pixvox report has made")
    parser.add_argument("folder", type=path, help="where the pictures go")
    parser.add_argument("--item", default="", help="an item to show too")
    given = parser.parse_args(words)
    return run(given.page, given.folder, given.item)


if __name__ == "__main__":
    program(main)
