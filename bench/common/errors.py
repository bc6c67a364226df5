"""The two errors that end a command with one line; everything else is a bug and shows itself."""

from collections.abc import Iterator
from contextlib import contextmanager

from pixvox.errors import PixVoxError


class UserError(PixVoxError, ValueError):
    """Input that cannot be used; the message names the file, the item and the fix."""


class RunFailed(PixVoxError):
    """A run that could not be finished through no fault of its input; says what to do next."""


class ActorUnusable(RunFailed):
    """What keeps one actor from any work, whatever it is given: its GPU, its memory, its node.

    The run continues with the others, and fails with this message where there are none.
    """


@contextmanager
def bad_input() -> Iterator[None]:
    """Tells what weights, files or options were refused for in one line, as a UserError.

    For commands whose work starts by loading what the user named.
    """
    from pixvox.digests import WeightsError

    try:
        yield
    except UserError:
        raise
    except (WeightsError, OSError, ImportError) as error:
        raise UserError(" ".join(str(error).split())) from error
