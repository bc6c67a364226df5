"""Figures as files: the same figure gives the same bytes."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save_figure(figure: "Figure", path: Path) -> None:
    """Saves a figure in the format of the file's suffix, such as .svg or .png."""
    import matplotlib as mpl

    # Matplotlib's SVGs hold the time, and names drawn at random.
    with mpl.rc_context({"svg.hashsalt": "pixvox"}):
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
