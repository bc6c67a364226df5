"""The steppers of one model: one for each shape, shared by engines."""

from torch import Tensor

from pixvox.decoding.stepper import Shape, Stepper
from pixvox.network import PixVoxNetwork


class Steppers:
    """Creates a model's steppers on demand, and again if weights were changed.

    Engines that run one after the other may share them. Their caches are by far the largest part of
    an engine's memory, and no call reads data of another. A sweep over temperatures needs one.
    """

    def __init__(self, model: PixVoxNetwork) -> None:
        self.model = model
        self._take_in()

    def _take_in(self) -> None:
        self._version = _version(self.model)
        self.sound = all(bool(value.isfinite().all()) for value in self.model.parameters())
        self._by_shape: dict[Shape, Stepper] = {}

    def of(self, shape: Shape) -> Stepper:
        """Returns the stepper of this shape with the model's weights as they are now."""
        if _version(self.model) != self._version:
            self._take_in()
        if shape not in self._by_shape:
            self._by_shape[shape] = Stepper(self.model, shape)
        return self._by_shape[shape]


def _version(model: PixVoxNetwork) -> list[tuple[int, int]]:
    """Returns values that change when a parameter's values or its address change."""
    return [_version_of(value) for value in model.parameters()]


def _version_of(value: Tensor) -> tuple[int, int]:
    return value.data_ptr(), 0 if value.is_inference() else value._version
