"""A stand-in for the Hugging Face hub: the few requests that a push makes, over HTTP."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Hub(ThreadingHTTPServer):
    """Repositories by their path below `/api/`: names of files → content; every change a commit.

    With a `refusal`, commits are answered with that status.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repos: dict[str, dict[str, bytes]] = {}
        self.private: set[str] = set()
        self.commits = 0
        self.refusal = 0
        self.requests: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def head(self) -> str:
        return f"{self.commits:040x}"


@contextmanager
def served() -> Iterator[Hub]:
    hub = Hub()
    thread = threading.Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *words: Any) -> None:
        """Prints nothing."""

    def _answer(self, content: Any = None, status: int = 200, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        hub = self.server
        hub.requests.append(self.path)
        path = self.path.partition("?")[0].removeprefix("/api/").removeprefix("/")
        if "/resolve/" in path:
            repo, _, rest = path.partition("/resolve/")
            content = hub.repos[f"models/{repo}"][rest.partition("/")[2]]
            commit = {"X_Repo_Commit": hub.head, "ETag": f'"{hash(content):x}"'}
            self._answer(content, **commit)
            return
        if path not in hub.repos:
            self._answer({"error": "Repository not found"}, 404, X_Error_Code="RepoNotFound")
            return
        files = [{"rfilename": name} for name in hub.repos[path]]
        name = path.partition("/")[2]
        content = {"id": name, "sha": hub.head, "siblings": files, "private": path in hub.private}
        self._answer(content)

    def do_POST(self) -> None:
        hub = self.server
        hub.requests.append(self.path)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        path = self.path.partition("?")[0].removeprefix("/api/")
        if path == "validate-yaml":
            self._answer({"warnings": [], "errors": []})
        elif path == "repos/create":
            asked = json.loads(body)
            repo = f"{asked['type']}s/{asked['organization']}/{asked['name']}"
            hub.repos[repo] = {".gitattributes": b""}
            if asked.get("visibility") == "private":
                hub.private.add(repo)
            self._answer({"url": f"{hub.url}/{repo.removeprefix('models/')}"})
        elif path.endswith("/preupload/main"):
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            self._answer({"files": files})
        elif path.endswith("/commit/main"):
            self._commit(path.removesuffix("/commit/main"), body)

    def _commit(self, repo: str, body: bytes) -> None:
        hub = self.server
        lines = [json.loads(line) for line in body.splitlines()]
        parent = next(
            line["value"].get("parentCommit") for line in lines if line["key"] == "header"
        )
        if hub.refusal or parent not in (None, hub.head):
            self._answer({"error": "no"}, hub.refusal or 412)
            return
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                hub.repos[repo][value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "deletedFile":
                del hub.repos[repo][value["path"]]
        hub.commits += 1
        name = repo.partition("/")[2]
        url = f"{hub.url}/{name}/commit/{hub.head}"
        self._answer({"commitUrl": url, "commitOid": hub.head})
