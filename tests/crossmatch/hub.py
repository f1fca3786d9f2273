"""A Hub on this machine: the dataset repositories in a folder, by the routes that reading takes."""

from __future__ import annotations

import hashlib
import json
from urllib.parse import parse_qs, unquote, urlsplit

from tests.archive.server import Asked, Handler

TOKEN = "hf_secretsecretsecret"


class HubHandler(Handler):
    """`/datasets/ORG/NAME/resolve/REV/PATH` and `/api/datasets/ORG/NAME[/revision|tree/REV[/PATH]]`.

    A repository is a folder ORG/NAME, its commit a digest of its files; one with a file `.private` wants the token.
    """

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        words = [unquote(word) for word in url.path.strip("/").split("/")]
        asked = Asked("/".join(words), self.headers["Range"], None, self.headers["User-Agent"], self.command)
        self.server.archive.asked.append(asked)
        fault = self.server.archive.fault(asked.path, self.command)
        if fault is not None:
            fault(self, b"")
        elif words[:2] == ["api", "datasets"] and len(words) >= 4:
            self.api(words[2:4], words[4:], "true" in [v.lower() for v in parse_qs(url.query).get("recursive", [])])
        elif words[0] == "datasets" and words[3:4] == ["resolve"]:
            self.resolve(words[1:3], words[4], "/".join(words[5:]))
        else:
            self.refuse(404, "EntryNotFound")

    def refuse(self, status: int, code: str) -> None:
        self.reply(status, b"{}", {"X-Error-Code": code, "X-Error-Message": code})

    def commit(self, repo: list[str], revision: str | None) -> str | None:
        """The repository's commit; None after an answer that refuses it."""
        folder = self.server.archive.folder.joinpath(*repo)
        private = (folder / ".private").exists()
        if not folder.is_dir() or (private and self.headers["Authorization"] != f"Bearer {TOKEN}"):
            self.refuse(404 if not private else 401, "RepoNotFound")
            return None
        digest = hashlib.sha1(usedforsecurity=False)
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
        if revision not in (None, "main", digest.hexdigest()):
            self.refuse(404, "RevisionNotFound")
            return None
        return digest.hexdigest()

    def api(self, repo: list[str], rest: list[str], recursive: bool) -> None:
        commit = self.commit(repo, rest[1] if len(rest) > 1 else None)
        if commit is None:
            return
        if rest[:1] != ["tree"]:
            self.answer({"id": "/".join(repo), "sha": commit, "siblings": []})
            return
        root = self.server.archive.folder.joinpath(*repo)
        folder = root.joinpath(*rest[2:])
        if not folder.is_dir():
            self.refuse(404, "EntryNotFound")
            return
        entries = []
        for path in sorted(folder.rglob("*") if recursive else folder.iterdir()):
            about = {"path": path.relative_to(root).as_posix(), "oid": "0" * 40}
            if path.is_dir():
                entries.append({"type": "directory", "size": 0, **about})
            else:
                entries.append({"type": "file", "size": path.stat().st_size, **about})
        self.answer(entries)

    def answer(self, found: object) -> None:
        self.reply(200, json.dumps(found).encode(), {"Content-Type": "application/json"})

    def resolve(self, repo: list[str], revision: str, path: str) -> None:
        commit = self.commit(repo, revision)
        file = self.server.archive.folder.joinpath(*repo, path)
        if commit is None:
            return
        if not file.is_file():
            self.refuse(404, "EntryNotFound")
            return
        self.serve(file.read_bytes())
