"""The kinds of system that come with the suite, a line each, and those of plug-ins."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

from pydantic import Field

from bench.common.plugins import with_plugins
from bench.datasets.base import Item
from bench.systems.axes import Axis
from bench.systems.base import System
from bench.systems.cascade import CascadeSystem
from bench.systems.copied import CopiedSystem
from bench.systems.http import HttpSystem
from bench.systems.noise import NoiseSystem
from bench.systems.noisy import NoisySystem
from bench.systems.oracle import OracleSystem
from bench.systems.pixvox import PixVoxSystem
from bench.systems.prompt import PromptSystem
from bench.systems.python import PythonSystem
from bench.systems.recorded import RecordedSystem
from bench.systems.resynthesis import ResynthesisSystem
from bench.systems.retrieval import RetrievalSystem
from bench.systems.shuffled import ShuffledSystem
from bench.systems.silence import SilenceSystem
from bench.systems.text import TextSystem
from bench.systems.units import UnitsSystem
from bench.systems.wavs import WavsSystem
from pixvox.plugins import SYSTEMS

SHIPPED: tuple[type[System], ...] = (
    PixVoxSystem,
    CascadeSystem,
    OracleSystem,
    TextSystem,
    CopiedSystem,
    RecordedSystem,
    ResynthesisSystem,
    PromptSystem,
    RetrievalSystem,
    SilenceSystem,
    NoiseSystem,
    NoisySystem,
    ShuffledSystem,
    WavsSystem,
    UnitsSystem,
    PythonSystem,
    HttpSystem,
)

if TYPE_CHECKING:
    AnySystem = System
else:
    _KINDS = with_plugins(SHIPPED, SYSTEMS, key="kind", base=System)
    AnySystem = Annotated[_KINDS, Field(discriminator="kind")]
"""One of a job's `systems`."""
KINDS: tuple[type[System], ...] = get_args(get_args(AnySystem)[0])
AXES: tuple[Axis, ...] = tuple(dict.fromkeys(axis for kind in KINDS for axis in kind.axes()))
"""All axes that a job's grid may vary."""


def recognise_system(folder: Path, items: Sequence[Item]) -> System | None:
    """Returns the system in a folder as a job would declare it; None if there is none."""
    recognised = (kind.recognised(folder, items) for kind in KINDS)
    return next((system for system in recognised if system is not None), None)
