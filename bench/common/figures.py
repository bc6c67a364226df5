"""Saves figures reproducibly: the same figure gives the same bytes."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

from bench.common.atomic import write_bytes
from bench.common.errors import UserError
from bench.common.text import clean

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def label(text: str) -> str:
    """Escapes a text for matplotlib: `$` would start a formula, a leading `_` hide the line."""
    return clean(text).replace("$", r"\$").lstrip("_")


def save_figure(figure: "Figure", path: Path) -> None:
    """Saves a figure in the format of the file's suffix, such as .svg or .png.

    Raises UserError where no format has that suffix.
    """
    import matplotlib as mpl

    if path.suffix[1:] not in figure.canvas.get_supported_filetypes():
        raise UserError(f"{path}: not a format of figures; name an .svg, .png or .pdf")
    dates = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    # By default matplotlib's SVGs hold the time and random names.
    drawn = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "pixvox"}):
        figure.savefig(drawn, format=path.suffix[1:], metadata=dates.get(path.suffix))
    write_bytes(path, drawn.getvalue())
