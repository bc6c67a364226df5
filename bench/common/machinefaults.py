"""Recognises failures of memory, disks and devices, which are not the item's and may be retried."""

import errno

_DEVICE_LOST = ("CUDA error", "cuDNN error", "CUBLAS_STATUS")
_NO_MEMORY = ("out of memory", "allocate memory")
"""PyTorch's messages for a GPU and for a CPU."""
_OF_DISK = {errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EIO}


def device_lost(said: str) -> bool:
    """Returns whether an error's text says that a GPU's context is lost, so all later work
    fails."""
    return any(sign in said for sign in _DEVICE_LOST)


def is_out_of_memory(said: str) -> bool:
    """Returns whether an error's text says that a GPU's or the machine's memory ran out."""
    return any(words in said.lower() for words in _NO_MEMORY)


def is_machines(error: BaseException, said: str) -> bool:
    """Returns whether an error, by its type or text, is a failure of memory, a disk or a device."""
    return (
        isinstance(error, MemoryError)
        or (isinstance(error, OSError) and error.errno in _OF_DISK)
        or is_out_of_memory(said)
        or device_lost(said)
    )
