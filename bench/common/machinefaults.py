"""What fails for want of memory, disk or a device: no item's fault, and another time it may not."""

import errno

_DEVICE_LOST = ("CUDA error", "cuDNN error", "CUBLAS_STATUS")
_NO_MEMORY = ("out of memory", "allocate memory")
"""As PyTorch says it of a GPU and of a CPU."""
_OF_DISK = {errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EIO}


def device_lost(said: str) -> bool:
    """Whether an error's text says that a GPU's context is lost: all later work would fail too."""
    return any(sign in said for sign in _DEVICE_LOST)


def is_out_of_memory(said: str) -> bool:
    """Whether an error's text says that a GPU's or the machine's memory ran out."""
    return any(words in said.lower() for words in _NO_MEMORY)


def is_machines(error: BaseException, said: str) -> bool:
    """Whether memory, a disk or a device failed, by an error and its text."""
    return (
        isinstance(error, MemoryError)
        or (isinstance(error, OSError) and error.errno in _OF_DISK)
        or is_out_of_memory(said)
        or device_lost(said)
    )
