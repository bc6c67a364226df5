"""The speed of a training, in units a second and as a share of the machine's speed."""

from collections import deque
from typing import TypedDict

from pixvox.modeling import PixVoxLM
from pixvox.training.captions import SpokenCaptions
from pixvox.training.cost import matrix_rate, step_flops
from pixvox.training.loop import Step
from pixvox.training.precision import dtype_of
from pixvox.training.recipe import Training

_STEPS = 20
"""The pace is the mean over this many steps, because their lengths differ."""


class Speed(TypedDict):
    """What a log's row says: units of all codebooks a second, and the operations of the step's
    matrix products over those that the machine's own product does in the time."""

    units_per_second: float
    of_product: float


class Pace:
    """One worker's pace over the last steps, validation left out.

    The machine's product is measured once, at the start, in the training's precision.
    """

    def __init__(self, model: PixVoxLM, data: SpokenCaptions, plan: Training) -> None:
        self._model, self._data = model, data
        device = next(model.parameters()).device
        mean = sum(units.shape[-1] for units in data.units) // len(data.units)
        positions = mean * (plan.micro_batch or plan.batch)
        self._rate = matrix_rate(model, dtype_of(plan.precision, device), positions)
        self._last: deque[tuple[float, float, float]] = deque(maxlen=_STEPS)

    def of(self, step: Step) -> Speed:
        """Returns the pace of the last steps, including this one."""
        layout = self._model.config.layout
        lengths = [self._data.units[row].shape[-1] + 1 for row in step.rows]
        units = self._data.targets(step.rows) * self._model.config.num_codebooks
        flops = step_flops(self._model, [len(layout(frames).steps) for frames in lengths])
        self._last.append((step.seconds, units, flops))
        seconds, unit_count, done = (sum(part) for part in zip(*self._last, strict=True))
        return {"units_per_second": unit_count / seconds, "of_product": done / seconds / self._rate}
