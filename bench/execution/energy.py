"""The energy that a GPU has used, by its own counter (NVML)."""

from collections.abc import Callable

EnergyMeter = Callable[[], float]
"""Returns J since some moment; a difference of two readings is what the whole card used between."""


def no_energy() -> float:
    """Returns 0, of a device that does not tell its energy."""
    return 0.0


def energy_meter() -> EnergyMeter:
    """Returns the meter of this process's first GPU; `no_energy` where it has none that tells.

    It needs the package `nvidia-ml-py`. Cards since Volta count their energy.
    """
    try:
        import pynvml
    except ImportError:
        return no_energy
    import torch

    try:
        pynvml.nvmlInit()
        # By its UUID: CUDA's number of a card is not NVML's where others are hidden.
        name = f"GPU-{torch.cuda.get_device_properties(0).uuid}"
        handle = pynvml.nvmlDeviceGetHandleByUUID(name)
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except pynvml.NVMLError:
        return no_energy
    return lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000
