"""The base of all errors that are raised here on purpose; any other error is a bug."""


class PixVoxError(Exception):
    """An error whose message says in one line what is wrong and what to do."""


class UnitsError(PixVoxError, ValueError):
    """Units that the codec cannot decode: of the wrong shape, out of range, or none."""
