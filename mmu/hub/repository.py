"""A dataset repository on the Hub: what is in it, and the two ways in which files get there.

Tokens are huggingface_hub's own affair (`hf auth login`, HF_TOKEN): none is taken, kept or shown here.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mmu.errors import DownloadError, MmuError, UsageError
from mmu.hub.contents import Item

_MOST_SAID = 300


class HubError(MmuError):
    """The Hub did not take what was sent; what it has is kept, and the same command goes on from there."""


@dataclass(frozen=True)
class Stored:
    """A file as the Hub has it: its size, and the SHA-256 of a large one or git's own hash of a small one."""

    size: int
    sha256: str = ""
    git: str = ""


class Repository:
    """A dataset repository, which need not exist yet."""

    def __init__(self, name: str, revision: str | None = None) -> None:
        from huggingface_hub import HfApi, constants

        self.name, self.revision = name, revision or "main"
        self.endpoint = (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")
        if constants.HF_HUB_OFFLINE:
            raise UsageError("HF_HUB_OFFLINE is set, so the Hub is not asked; unset it to publish.")
        self._api = HfApi(endpoint=self.endpoint)

    @property
    def url(self) -> str:
        return f"{self.endpoint}/datasets/{self.name}"

    @cached_property
    def private(self) -> bool | None:
        """Is it private? None where there is no such repository, or none that may be seen."""
        from huggingface_hub.errors import RepositoryNotFoundError

        with self._told():
            try:
                return bool(self._api.repo_info(self.name, repo_type="dataset").private)
            except RepositoryNotFoundError:
                return None

    def user(self) -> str:
        """Who publishes.

        Raises:
            UsageError: there is no token, or the Hub does not take it.
        """
        from huggingface_hub import get_token

        if get_token() is None:
            raise UsageError("Publishing needs a token that may write: log in with `hf auth login`, or set HF_TOKEN.")
        with self._told():
            return str(self._api.whoami()["name"])

    def files(self) -> dict[str, Stored]:
        """Name -> file, of this revision; none where there is no such repository or revision."""
        from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

        with self._told():
            try:
                tree = self._api.list_repo_tree(self.name, repo_type="dataset", revision=self.revision, recursive=True)
                return {entry.path: _stored(entry) for entry in tree if hasattr(entry, "blob_id")}
            except (RepositoryNotFoundError, RevisionNotFoundError):
                return {}

    def create(self, private: bool) -> None:
        """Make the repository, and the revision, where they do not exist."""
        with self._told():
            if self.private is None:
                self._api.create_repo(self.name, repo_type="dataset", private=private, exist_ok=True)
            if self.revision != "main" and not self.revision.startswith("refs/"):
                self._api.create_branch(self.name, branch=self.revision, repo_type="dataset", exist_ok=True)

    @contextmanager
    def progress(self, quiet: bool) -> Iterator[None]:
        """The client's own display while something is sent: live on a terminal, else a line now and then."""
        from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

        lines, shown = logging.getLogger("huggingface_hub._upload_pipeline"), not are_progress_bars_disabled()
        top, level = logging.getLogger("huggingface_hub"), lines.level
        passes_on, top.propagate = top.propagate, False  # it prints by itself: once is enough
        if quiet or not sys.stderr.isatty():
            disable_progress_bars()
            lines.setLevel(logging.ERROR if quiet else logging.INFO)
        try:
            yield
        finally:
            top.propagate = passes_on
            lines.setLevel(level)
            if shown:
                enable_progress_bars()

    def upload(self, folder: Path, message: str) -> None:
        """Send all files of a folder, in as many commits as it takes; run again, it goes on where it ended."""
        with self._told():
            self._api.upload_folder(
                repo_id=self.name,
                repo_type="dataset",
                folder_path=folder,
                revision=self.revision,
                commit_message=message,
            )

    def commit(self, items: Sequence[Item], gone: Sequence[str], message: str) -> None:
        """Send some files, and remove others, in one commit."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        operations: list[Any] = [CommitOperationAdd(item.name, str(item.path)) for item in items]
        operations += [CommitOperationDelete(name) for name in gone]
        with self._told():
            self._api.create_commit(
                self.name, operations, commit_message=message, repo_type="dataset", revision=self.revision
            )

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Errors of the client and of the network below it as one sentence, without addresses that may be signed."""
        from huggingface_hub.errors import HfHubHTTPError

        try:
            yield
        except MmuError:
            raise
        except Exception as problem:
            found: BaseException | None = problem
            while found is not None and not isinstance(found, HfHubHTTPError):
                found = found.__cause__  # it wraps what went wrong with one file
            if found is not None:
                raise self._refusal(found.response.status_code, found.server_message) from None
            if isinstance(problem, OSError) and problem.filename:
                raise
            raise self._lost(problem) from None

    def _refusal(self, status: int, said: str | None) -> MmuError:
        host = urlsplit(self.endpoint).hostname
        login = "log in with `hf auth login`, or set HF_TOKEN, to one that may write there"
        if status == 401:
            return UsageError(f"The Hub ({host}) does not take the token (HTTP 401); {login}.")
        if status in (403, 404):
            return UsageError(f"The token may not write to {self.name} on the Hub ({host}, HTTP {status}); {login}.")
        words = " ".join("".join(sign if sign.isprintable() else " " for sign in said or "").split())[:_MOST_SAID]
        again = "wait, and run the same command" if status == 429 or status >= 500 else "nothing more was sent"
        return HubError(f"The Hub ({host}) refused (HTTP {status}{': ' + words if words else ''}); {again}.")

    def _lost(self, problem: Exception) -> MmuError:
        host, kind = urlsplit(self.endpoint).hostname, type(problem).__name__
        again = "run the same command to go on: what is there is kept"
        return DownloadError(f"Asking the Hub ({host}) failed ({kind}); {again}.")


def _stored(entry: Any) -> Stored:
    return Stored(entry.size, entry.lfs.sha256 if entry.lfs else "", entry.blob_id)
