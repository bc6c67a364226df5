"""A repository of the Hugging Face hub; errors of its library become one line."""

import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.common.errors import RunFailed, UserError
from bench.common.text import reason_of

CARD = "README.md"
Kind = Literal["model", "dataset"]
_AGAIN = "what was sent stays there, and the same command continues"


@dataclass(frozen=True)
class HubFile:
    """A file to be sent: its name in the repository, and its content as bytes or as a path."""

    name: str
    content: Path | bytes

    @property
    def size(self) -> int:
        """In bytes."""
        if isinstance(self.content, bytes):
            return len(self.content)
        return self.content.stat().st_size


@dataclass(frozen=True)
class Snapshot:
    """A repository's content at a commit: the names of files, and the card, "" without one."""

    commit: str
    names: tuple[str, ...]
    card: str


def check_name(repo: str) -> None:
    """Raises UserError for a name that is not a valid USER/NAME."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise UserError(f"{repo}: {' '.join(str(error).split())}") from error
    if repo.count("/") != 1:
        raise UserError(f"{repo}: name the repository as USER/NAME")


class HubRepo:
    """A repository that the user's token may write to; raises UserError without a token."""

    def __init__(self, name: str, kind: Kind) -> None:
        from huggingface_hub import HfApi, get_token

        self.name, self._kind = name, kind
        self._api = HfApi(token=get_token())
        if self._api.token is None:
            raise UserError(
                f"{name}: there is no token of the Hugging Face hub; log in with `hf auth login`, "
                "or set HF_TOKEN to a token that may write"
            )

    def ensure(self, private: bool) -> None:
        """Creates the repository if it does not exist.

        Raises UserError where it should be `private` and exists as a public one.
        """
        from huggingface_hub.errors import RepositoryNotFoundError

        with self._one_line():
            try:
                info = self._api.repo_info(self.name, repo_type=self._kind)
            except RepositoryNotFoundError:
                self._api.create_repo(
                    self.name, repo_type=self._kind, private=private or None, exist_ok=True
                )
                return
        if private and not info.private:
            raise UserError(
                f"{self.name}: exists and is public; --private is for a repository that push "
                "creates; make it private in its settings, or leave --private out"
            )

    def read(self) -> Snapshot:
        """Returns the repository's current content."""
        with self._one_line():
            info = self._api.repo_info(self.name, repo_type=self._kind)
            names = tuple(file.rfilename for file in info.siblings or ())
            card = self._read_card(info.sha) if CARD in names else ""
        return Snapshot(str(info.sha), names, card)

    def _read_card(self, commit: str) -> str:
        with tempfile.TemporaryDirectory(prefix="pixvox-card-") as folder:
            path = self._api.hf_hub_download(
                self.name, CARD, repo_type=self._kind, revision=commit, local_dir=folder
            )
            return Path(path).read_bytes().decode()

    def send(
        self,
        files: Sequence[HubFile],
        message: str,
        *,
        removed: Sequence[str] = (),
        parent: str | None = None,
    ) -> str:
        """Sends files and removals as one commit; returns its id.

        With a `parent`, raises RunFailed if the repository has changed since that commit.
        """
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        operations: list[Any] = [
            CommitOperationAdd(
                file.name, file.content if isinstance(file.content, bytes) else str(file.content)
            )
            for file in files
        ]
        operations += [CommitOperationDelete(name, is_folder=False) for name in removed]
        with self._one_line(), warnings.catch_warnings():
            # The library warns about Parquet files in a model's repository.
            warnings.simplefilter("ignore", UserWarning)
            commit = self._api.create_commit(
                self.name,
                operations,
                commit_message=message,
                repo_type=self._kind,
                parent_commit=parent,
            )
        return str(commit.oid)

    @contextmanager
    def _one_line(self) -> Iterator[None]:
        """Raises the library's errors as UserError, if the user can fix them, or RunFailed."""
        from huggingface_hub.errors import (
            HfHubHTTPError,
            HTTPError,
            OfflineModeIsEnabled,
            RepositoryNotFoundError,
        )

        try:
            yield
        except OfflineModeIsEnabled as error:
            raise UserError(f"{self.name}: HF_HUB_OFFLINE is set; unset it to push") from error
        except RepositoryNotFoundError as error:
            raise UserError(
                f"{self.name}: does not exist, or this token has no access; name a repository of "
                "your own"
            ) from error
        except HfHubHTTPError as error:
            raise self._refusal(error) from error
        except (HTTPError, ConnectionError, RuntimeError) as error:
            # The library's own uploader raises RuntimeError where the network fails.
            raise RunFailed(f"{self.name}: no answer ({reason_of(error)}); {_AGAIN}") from error
        except ValueError as error:
            raise UserError(f"{self.name}: {' '.join(str(error).split())}") from error

    def _refusal(self, error: Any) -> Exception:
        status = error.response.status_code
        why = reason_of(error)
        if status in (401, 403):
            return UserError(
                f"{self.name}: this token may not write to it; use one that may ({why})"
            )
        if status in (409, 412):
            return RunFailed(f"{self.name}: was changed meanwhile; run the same command again")
        if status == 429 or status >= 500:
            return RunFailed(f"{self.name}: the hub failed with {status} ({why}); {_AGAIN}")
        return UserError(f"{self.name}: the hub refused it with {status} ({why})")
