"""The base of all errors that are raised here on purpose; anything else is a bug."""


class PixVoxError(Exception):
    """An error whose message says what is wrong and what to do, in one line."""


class UnitsError(PixVoxError, ValueError):
    """Units that the codec cannot speak: of the wrong shape, out of range, or none."""
