"""A Hugging Face hub on 127.0.0.1: the part of its HTTP interface that huggingface_hub's commits and downloads use.

A real server with state: repositories, branches with their commits, large files by their digests, tokens that may write
and tokens that have expired. It speaks Git LFS's basic transfer; Xet, which the real hub prefers, it does not.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import huggingface_hub.constants
import pytest
from pydantic import SecretStr

from sluiceway.core.publish.hub import HubPlace

TOKEN = "hf_" + "aVeryLongTokenThatNobodyMaySee"
EXPIRED = "hf_" + "aTokenOfLastYear"
DISTRIBUTIONS, CATALOGUE = "ada/prs-percentiles", "ada/pgs-catalog"

_COMMIT = re.compile(r"/api/datasets/([^/]+/[^/]+)/commit/([^/]+)")
_PREUPLOAD = re.compile(r"/api/datasets/([^/]+/[^/]+)/preupload/([^/]+)")
_BATCH = re.compile(r"/datasets/([^/]+/[^/]+)\.git/info/lfs/objects/batch")
_ABOUT = re.compile(r"/api/datasets/([^/]+/[^/]+)/revision/([^/]+)")
_FILE = re.compile(r"/datasets/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
_UPLOAD = re.compile(r"/uploads/([0-9a-f]{64})")


@dataclass
class Commit:
    """A commit: everything that is there, and what was said."""

    sha: str
    files: dict[str, bytes]
    parent: str | None
    summary: str
    description: str


@dataclass
class LoopbackHub:
    """The state of the hub; a test may look at it, and change it, while it is served."""

    repositories: dict[str, list[Commit]] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    sent: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    refuse_uploads: bool = False
    is_public: bool = False
    before_commit: list[Any] = field(default_factory=list)
    base: str = ""

    def place(self, token: str = TOKEN, **changes: Any) -> HubPlace:
        told: dict[str, Any] = {"distributions": DISTRIBUTIONS, "catalogue": CATALOGUE, **changes}
        return HubPlace(token=SecretStr(token), endpoint=self.base, **told)

    def create(self, name: str) -> None:
        self.repositories[name] = []
        self.push(name, {".gitattributes": b"*.parquet filter=lfs\n"}, summary="initial commit")

    def push(self, name: str, files: dict[str, bytes], *, summary: str = "somebody else") -> str:
        """Commit files as somebody else does."""
        return self._commit(name, {**self._files(name), **files}, summary, "")

    def head(self, name: str) -> Commit:
        return self.repositories[name][-1]

    @contextmanager
    def served(self) -> Iterator[LoopbackHub]:
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.base = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    # What the server asks of its state.

    def at(self, name: str, revision: str) -> Commit | None:
        commits = self.repositories[name]
        if revision == "main":
            return commits[-1]
        return next((each for each in commits if each.sha == revision), None)

    def accept(self, name: str, lines: list[dict[str, Any]]) -> tuple[int, dict[str, Any]]:
        """Take a commit, all of it or nothing."""
        for before in self.before_commit:
            before()
        header = lines[0]["value"]
        if header.get("parentCommit") not in {None, self.head(name).sha}:
            return 412, {"error": "A commit has happened since. Please refresh and try again."}
        files = self._files(name)
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.large:
                    return 400, {"error": f"{value['path']} points to a large file that was not uploaded"}
                files[value["path"]] = self.large[value["oid"]]
            elif line["key"] == "deletedFile" and files.pop(value["path"], None) is None:
                return 400, {"error": "A file with this name doesn't exist"}
        sha = self._commit(name, files, header["summary"], header["description"])
        return 200, {"commitUrl": f"{self.base}/datasets/{name}/commit/{sha}", "commitOid": sha, "success": True}

    def _files(self, name: str) -> dict[str, bytes]:
        commits = self.repositories[name]
        return dict(commits[-1].files) if commits else {}

    def _commit(self, name: str, files: dict[str, bytes], summary: str, description: str) -> str:
        commits = self.repositories[name]
        parent = commits[-1].sha if commits else None
        sha = hashlib.sha1(f"{parent} {summary} {len(commits)}".encode(), usedforsecurity=False).hexdigest()
        commits.append(Commit(sha=sha, files=files, parent=parent, summary=summary, description=description))
        return sha


@contextmanager
def empty_hub(undo: pytest.MonkeyPatch, folder: Path) -> Iterator[LoopbackHub]:
    """A hub with two empty repositories; uploads go by LFS, which it speaks, and not by Xet, which it does not."""
    undo.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    undo.setattr(huggingface_hub.constants, "HF_HOME", str(folder / "hf"))
    undo.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(folder / "hf" / "token"))
    with LoopbackHub().served() as served:
        served.create(DISTRIBUTIONS)
        served.create(CATALOGUE)
        yield served


class _Handler(BaseHTTPRequestHandler):
    hub: LoopbackHub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._read()

    def do_HEAD(self) -> None:
        self._read()

    def do_POST(self) -> None:
        path, body = self._taken()
        if path == "/api/validate-yaml":
            self._json(200, {"errors": [], "warnings": []})
        elif not self._may(path):
            pass
        elif found := _PREUPLOAD.fullmatch(path):
            files = [{"path": each["path"], "uploadMode": _mode(each["path"]), "shouldIgnore": False}
                     for each in json.loads(body)["files"]]  # fmt: skip
            self._json(200, {"files": files})
        elif _BATCH.fullmatch(path):
            self._json(
                200, {"transfer": "basic", "objects": [self._action(each) for each in json.loads(body)["objects"]]}
            )
        elif found := _COMMIT.fullmatch(path):
            self._json(*self.hub.accept(found[1], [json.loads(line) for line in body.splitlines() if line]))
        else:
            self._json(404, {"error": "no such page"})

    def do_PUT(self) -> None:
        path, body = self._taken()
        found = _UPLOAD.fullmatch(path)
        if self.hub.refuse_uploads or found is None:
            self._json(403, {"error": "the storage refuses"})
            return
        if hashlib.sha256(body).hexdigest() == found[1]:
            self.hub.large[found[1]] = body
            self.hub.sent.append(found[1])
        self._answer(200, b"")

    def _read(self) -> None:
        path, _ = self._taken()
        if not self._may(path):
            return
        about, file = _ABOUT.fullmatch(path), _FILE.fullmatch(path)
        found = about or file
        commit = self.hub.at(found[1], found[2]) if found else None
        if commit is None:
            self._json(404, {"error": "no such page"}, {"X-Error-Code": "RevisionNotFound"})
        elif about:
            siblings = [{"rfilename": each} for each in sorted(commit.files)]
            self._json(200, {"_id": "1", "id": about[1], "sha": commit.sha, "siblings": siblings})
        elif file is not None and (content := commit.files.get(file[3])) is not None:
            etag = hashlib.sha256(content).hexdigest()
            self._answer(200, content, {"ETag": f'"{etag}"', "X-Repo-Commit": commit.sha})
        else:
            self._json(404, {"error": "no such file"}, {"X-Error-Code": "EntryNotFound"})

    def _may(self, path: str) -> bool:
        given = self.headers.get("authorization", "").removeprefix("Bearer ")
        name = next(
            (each[1] for form in (_COMMIT, _PREUPLOAD, _BATCH, _ABOUT, _FILE) if (each := form.fullmatch(path))), ""
        )
        reads = self.hub.is_public and self.command in {"GET", "HEAD"} and not given
        if given != TOKEN and not reads:
            self._json(401, {"error": "Invalid credentials: the token has expired"})
        elif name not in self.hub.repositories:
            self._json(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        else:
            return True
        return False

    def _action(self, wanted: dict[str, Any]) -> dict[str, Any]:
        told = {"oid": wanted["oid"], "size": wanted["size"]}
        if wanted["oid"] in self.hub.large:
            return told
        href = f"{self.hub.base}/uploads/{wanted['oid']}?signature=secret"
        return {**told, "actions": {"upload": {"href": href, "header": {}}}}

    def _taken(self) -> tuple[str, bytes]:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{self.command} {path}")
        return path, self._body()

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("transfer-encoding", ""):
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        parts = []
        while size := int(self.rfile.readline().strip(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _json(self, status: int, document: object, headers: dict[str, str] | None = None) -> None:
        told = {"Content-Type": "application/json", **(headers or {})}
        if isinstance(document, dict) and "error" in document:
            told["X-Error-Message"] = str(document["error"])
        self._answer(status, json.dumps(document).encode(), told)

    def _answer(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


def _mode(path: str) -> str:
    return "lfs" if path.endswith(".parquet") else "regular"
