"""Finds the Ray cluster that the address `auto` means: the one that `ray start` has started here.

Ray's own search does not do: it reads the folder for temporary files, which a supervised command
has replaced, or else returns any Ray on this machine, also one that another command of this suite
has started for itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.common.errors import RunFailed, UserError
from bench.common.processes import arguments, process_ids
from bench.common.scratch import is_scratch

CURRENT = "ray_current_cluster"
"""The file in which `ray start` leaves the cluster's address, in Ray's temporary folder."""
_RAYLET, _ADDRESS, _FOLDER = "raylet", "--gcs-address=", "--temp_dir="


@dataclass(frozen=True)
class Raylet:
    """A node of a Ray on this machine: its cluster's HOST:PORT, and Ray's temporary folder."""

    address: str
    folder: Path

    @property
    def by_ray_start(self) -> bool:
        """Whether it was started by `ray start`, and not by a driver."""
        try:
            return (self.folder / CURRENT).read_text().strip() == self.address
        except (OSError, UnicodeDecodeError):
            return False


def address_here(choices: str) -> str:
    """Returns the HOST:PORT of the cluster that this machine is a node of.

    Clusters that `ray start` has started are preferred to those of other programs; those of this
    suite's commands are ignored. Raises RunFailed where there is none, and UserError where there
    are several; `choices` names the settings that select one, for the message.
    """
    nodes = [node for node in _raylets() if not is_scratch(node.folder)]
    addresses = sorted({node.address for node in nodes if node.by_ray_start})
    addresses = addresses or sorted({node.address for node in nodes})
    if not addresses:
        raise RunFailed(f"no Ray cluster runs on this machine; start it, or correct {choices}")
    if len(addresses) > 1:
        raise UserError(
            f"auto: this machine is a node of {len(addresses)} Rays ({', '.join(addresses)}); "
            f"write one of these addresses in place of auto ({choices})"
        )
    return addresses[0]


def _raylets() -> Iterator[Raylet]:
    for pid in process_ids():
        command = arguments(pid)
        if not command or Path(command[0]).name != _RAYLET:
            continue
        values = {
            name: argument.removeprefix(name)
            for argument in command
            for name in (_ADDRESS, _FOLDER)
            if argument.startswith(name)
        }
        if len(values) == 2:
            yield Raylet(values[_ADDRESS], Path(values[_FOLDER]))
