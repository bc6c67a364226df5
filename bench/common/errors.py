"""The errors that end a command with one line; any other exception is a bug with a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager

from pixvox.errors import PixVoxError


class UserError(PixVoxError, ValueError):
    """Invalid input, exit code 2; the message names the file, the item and the fix."""


class RunFailed(PixVoxError):
    """A run that failed although its input is valid, exit code 3; says what to do next."""


class ActorUnusable(RunFailed):
    """An actor cannot do any work because of its GPU, its memory or its node.

    The run continues with the other actors, and fails with this message where there are none.
    """


@contextmanager
def bad_input() -> Iterator[None]:
    """Turns errors of loading weights, files or modules into a UserError of one line.

    For commands that start by loading what the user named.
    """
    from pixvox.digests import WeightsError

    try:
        yield
    except UserError:
        raise
    except (WeightsError, OSError, ImportError) as error:
        raise UserError(" ".join(str(error).split())) from error
