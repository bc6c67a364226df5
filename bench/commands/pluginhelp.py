"""The line of a command's help that lists plug-ins."""

from bench.common.text import clean
from pixvox.plugins import GROUPS, plugins


def help_line() -> str:
    """Returns the kinds that installed packages add, for a command's help; "" if there are none."""
    added = [f"{kind} {name}" for group, kind in GROUPS.items() for name in plugins(group)]
    return f"plug-ins: {clean(', '.join(added))} (see pixvox show plugins)" if added else ""
