"""A dispatch mode in which code of a GPU is run on meta tensors, without a GPU."""

from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class NoHost(TorchDispatchMode):
    """Raises for every operation that reads or makes a tensor of the CPU; counts the others."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operations += 1
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves((args, kwargs, result)):
            # A number of Python's is a CPU tensor without dimensions; it travels with the kernel.
            if isinstance(leaf, Tensor) and leaf.ndim and leaf.device.type != "meta":
                raise AssertionError(f"{func} on {leaf.device}")
        return result
