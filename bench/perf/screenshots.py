"""Pictures of a page: every view, light and dark, on a desk and on a phone."""

from pathlib import Path

from bench.common.errors import UserError
from bench.perf.browser import opened_browser

WIDTHS = (1280, 360)
_HEIGHT = 800


def run(page: Path, folder: Path, item: str) -> int:
    """Writes `VIEW-SCHEME-WIDTH.png` of a made page into a folder; raises UserError without one."""
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
