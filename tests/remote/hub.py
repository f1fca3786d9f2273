"""A Hub on this machine: the dataset repositories in a folder, by the routes that reading and publishing take."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import threading
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.archive.server import Asked, Handler

TOKEN = "hf_secretsecretsecret"
LARGE = (".parquet", ".hdf5", ".fits", ".png")
"""Names of files that are kept apart, as the Hub keeps those of LFS."""


class HubHandler(Handler):
    """`/datasets/ORG/NAME/resolve/REV/PATH` and `/api/datasets/ORG/NAME[/revision|tree/REV[/PATH]]`; and for publishing
    `/api/repos/create`, `/api/datasets/ORG/NAME/{branch,preupload,commit}/REV`, `ORG/NAME.git/info/lfs`.

    A repository is a folder ORG/NAME, its commit a digest of its files; one with a file `.private` wants the token. A
    branch is a folder ORG/NAME@BRANCH. Large files come to `.lfs`, by their digests.
    """

    serves = ""
    """The commit of the file that is answered."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        words = [unquote(word) for word in url.path.strip("/").split("/")]
        self.note(words)
        fault = self.server.archive.fault("/".join(words), self.command)
        if fault is not None:
            fault(self, b"")
        elif words == ["api", "whoami-v2"]:
            self.who()
        elif words[:2] == ["api", "datasets"] and len(words) >= 4:
            self.api(words[2:4], words[4:], "true" in [v.lower() for v in parse_qs(url.query).get("recursive", [])])
        elif words[0] == "datasets" and words[3:4] == ["resolve"]:
            self.resolve(words[1:3], words[4], "/".join(words[5:]))
        else:
            self.refuse(404, "EntryNotFound")

    def do_POST(self) -> None:
        words = [unquote(word) for word in urlsplit(self.path).path.strip("/").split("/")]
        data = self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.note(words)
        if not self.allowed():
            self.refuse(401, "", "Invalid username or password.")
        elif words == ["api", "repos", "create"]:
            self.create(json.loads(data))
        elif words == ["api", "validate-yaml"]:
            self.answer({"errors": [], "warnings": []})
        elif words[-3:] == ["info", "lfs", "objects"] or words[-2:] == ["objects", "batch"]:
            self.batch(json.loads(data)["objects"])
        elif words[:2] == ["lfs", "verify"]:
            asked = json.loads(data)
            self.answer({}, 200 if self.large(asked["oid"]).stat().st_size == asked["size"] else 422)
        elif words[:2] == ["api", "datasets"] and len(words) == 6:
            self.written(words[2:4], words[4], words[5], data)
        else:
            self.refuse(404, "EntryNotFound")

    def do_PUT(self) -> None:
        words = urlsplit(self.path).path.strip("/").split("/")
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self.note(words)
        if hashlib.sha256(data).hexdigest() != words[1]:
            self.refuse(422, "", "digest")
            return
        self.large(words[1]).parent.mkdir(exist_ok=True)
        half = self.large(f"{words[1]}.{threading.get_ident()}")
        half.write_bytes(data)
        half.replace(self.large(words[1]))
        self.reply(200, b"")

    def note(self, words: list[str]) -> None:
        asked = Asked("/".join(words), self.headers["Range"], None, self.headers["User-Agent"], self.command)
        self.server.archive.asked.append(asked)

    def refuse(self, status: int, code: str, message: str = "") -> None:
        self.reply(status, b"{}", {"X-Error-Code": code, "X-Error-Message": message or code})

    def answer(self, found: object, status: int = 200) -> None:
        self.reply(status, json.dumps(found).encode(), {"Content-Type": "application/json"})

    def allowed(self) -> bool:
        return bool(self.headers["Authorization"] == f"Bearer {TOKEN}")

    def who(self) -> None:
        if self.allowed():
            self.answer(
                {"type": "user", "name": "someone", "orgs": [{"name": "ORG"}], "auth": {"type": "access_token"}}
            )
        else:
            self.refuse(401, "", "Invalid username or password.")

    # reading

    def root(self, repo: list[str], revision: str | None = None) -> Path:
        main = self.server.archive.folder.joinpath(*repo)
        branch = main.with_name(f"{main.name}@{revision}")
        return branch if branch.is_dir() else main

    def commit(self, repo: list[str], revision: str | None) -> str | None:
        """The repository's commit; None after an answer that refuses it."""
        folder = self.root(repo, revision)
        private = (self.root(repo) / ".private").exists()
        if not folder.is_dir() or (private and not self.allowed()):
            self.refuse(404 if not private else 401, "RepoNotFound")
            return None
        commits = {digest(folder), *(digest(one) for one in folder.parent.glob(f"{folder.name}@*"))}
        branch = folder.name.endswith(f"@{revision}")
        if revision not in (None, "main", *commits) and not branch:
            self.refuse(404, "RevisionNotFound")
            return None
        return digest(folder)

    def api(self, repo: list[str], rest: list[str], recursive: bool) -> None:
        revision = rest[1] if len(rest) > 1 else None
        commit = self.commit(repo, revision)
        if commit is None:
            return
        if rest[:1] != ["tree"]:
            private = (self.root(repo) / ".private").exists()
            self.answer({"id": "/".join(repo), "sha": commit, "siblings": [], "private": private})
            return
        root = self.root(repo, revision)
        folder = root.joinpath(*rest[2:])
        if not folder.is_dir():
            self.refuse(404, "EntryNotFound")
            return
        paths = sorted(folder.rglob("*") if recursive else folder.iterdir())
        self.answer([entry(path, root) for path in paths if path.name != ".private"])

    def resolve(self, repo: list[str], revision: str, path: str) -> None:
        commit = self.commit(repo, revision)
        file = self.root(repo, revision) / path
        if commit is None:
            return
        if not file.is_file():
            self.refuse(404, "EntryNotFound")
            return
        self.serves = commit
        self.serve(file.read_bytes())

    def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None, **how: Any) -> None:
        commit, self.serves = self.serves, ""
        super().reply(status, body, {**(headers or {}), "X-Repo-Commit": commit}, **how)

    # publishing

    def create(self, asked: dict[str, Any]) -> None:
        folder = self.root([asked["organization"], asked["name"]])
        if folder.is_dir():
            self.answer({"error": "You already created this dataset repo"}, 409)
            return
        folder.mkdir(parents=True)
        if asked.get("private") or asked.get("visibility") == "private":
            (folder / ".private").touch()
        self.answer({"url": f"{self.server.archive.url}datasets/{asked['organization']}/{asked['name']}"})

    def large(self, oid: str) -> Path:
        return self.server.archive.folder / ".lfs" / oid

    def batch(self, objects: list[dict[str, Any]]) -> None:
        """What is there already needs no upload."""
        url, answers = self.server.archive.url, []
        for one in objects:
            actions = {"upload": {"href": f"{url}lfs/{one['oid']}"}, "verify": {"href": f"{url}lfs/verify"}}
            answers.append(one if self.large(one["oid"]).is_file() else {**one, "actions": actions})
        self.answer({"transfer": "basic", "objects": answers})

    def written(self, repo: list[str], verb: str, revision: str, data: bytes) -> None:
        folder = self.root(repo, revision)
        if not folder.is_dir():
            self.refuse(404, "RepoNotFound")
        elif verb == "branch":
            shutil.copytree(folder, folder.with_name(f"{repo[1]}@{revision}"), dirs_exist_ok=True)
            self.answer({})
        elif verb == "preupload":
            files = [self.mode(folder, one["path"]) for one in json.loads(data)["files"]]
            self.answer({"files": files})
        else:
            for line in data.splitlines():
                self.change(folder, json.loads(line))
            self.answer({"commitUrl": f"{self.server.archive.url}datasets/x/y/commit/1", "commitOid": digest(folder)})

    def mode(self, folder: Path, name: str) -> dict[str, Any]:
        about: dict[str, Any] = {"path": name, "uploadMode": "lfs" if name.endswith(LARGE) else "regular"}
        if (folder / name).is_file():
            known = entry(folder / name, folder)
            about["oid"] = known["lfs"]["oid"] if "lfs" in known else known["oid"]
        return {**about, "shouldIgnore": False}

    def change(self, folder: Path, line: dict[str, Any]) -> None:
        value = line["value"]
        path = folder / value.get("path", "")
        if line["key"] in ("file", "lfsFile"):
            path.parent.mkdir(parents=True, exist_ok=True)
        if line["key"] == "file":
            path.write_bytes(base64.b64decode(value["content"]))
        elif line["key"] == "lfsFile":
            shutil.copyfile(self.large(value["oid"]), path)
        elif line["key"] == "deletedFile":
            path.unlink()


def digest(folder: Path) -> str:
    """The commit of a folder."""
    found = hashlib.sha1(usedforsecurity=False)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        found.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return found.hexdigest()


def entry(path: Path, root: Path) -> dict[str, Any]:
    """What the tree says of a file or a folder."""
    about = {"path": path.relative_to(root).as_posix(), "oid": "0" * 40, "type": "directory", "size": 0}
    if path.is_dir():
        return about
    data = path.read_bytes()
    git = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
    about |= {"type": "file", "size": len(data), "oid": git}
    if path.name.endswith(LARGE):
        about["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
    return about
