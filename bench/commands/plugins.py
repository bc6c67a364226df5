"""`pixvox show plugins`: what installed packages add to the suite."""

from argparse import Namespace

from bench.commands.options import Parser
from bench.common.text import clean
from pixvox.plugins import GROUPS, plugins


def add_arguments(parser: Parser) -> None:
    """Adds no arguments."""


def run(args: Namespace) -> int:
    """Prints a line for every plug-in, or that there is none."""
    from bench.report.terminal import Listing

    heads = ("kind", "name", "class", "package", "version")
    table = Listing(heads, heads)
    for group, kind in GROUPS.items():
        for plugin in plugins(group).values():
            row = (kind, plugin.name, plugin.entry, plugin.package, plugin.version)
            table.add_row(*map(clean, row))
    if not table.rows:
        print(f"no package adds anything; entry points are read of {', '.join(GROUPS)}")
        return 0
    table.print()
    return 0
