"""A hub of our own on this machine: the addresses of the Hugging Face API that a download asks, and
its refusals.
"""

import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

Files = dict[str, bytes]
PROPOSAL = {
    "title": "Adding `safetensors` variant of this model",
    "repo": {"name": "", "type": "model"},
    "status": "open",
    "createdAt": "2024-01-01T00:00:00.000Z",
    "isPullRequest": True,
}
COMMIT = re.compile("[0-9a-f]{40}")
REFUSALS = {
    "gated": (403, "GatedRepo"),
    "missing": (404, "RepoNotFound"),
    "revision": (404, "RevisionNotFound"),
}


def commit(hub_id: str, revision: str) -> str:
    """The commit that the server gives a revision."""
    return hashlib.sha1(f"{hub_id}@{revision}".encode()).hexdigest()


@contextmanager
def serve(
    repositories: dict[str, dict[str, Files]],
    *,
    gated: frozenset[str] = frozenset(),
    proposals: dict[str, str] | None = None,
    status: int = 200,
    trees: dict[str, dict[str, list[dict]]] | None = None,
    broken: frozenset[tuple[str, str]] = frozenset(),
    delay: float = 0,
) -> Iterator[str]:
    """The address of a server of {hub id: {revision: {file: content}}}.

    proposals: {revision: author} of pull requests, in every repository; `status` other than 200
    answers everything. trees: {hub id: {revision: tree entries}} of further repositories, whose
    files exist by name and hash only (a config.json also by its "content"); a revision that is a
    commit is one of `main`. broken: (hub id, revision) whose tree is refused; delay: seconds that
    every answer takes.
    """
    proposals, trees = proposals or {}, trees or {}

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            """Silence: a test's output is not a server's log."""

        def answer(self, code: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def refuse(self, why: str) -> None:
            code, name = REFUSALS[why]
            self.answer(code, b"{}", X_Error_Code=name, X_Error_Message=name)

        def do_GET(self) -> None:
            parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
            time.sleep(delay)
            if status != 200:
                return self.answer(status, b"{}")
            api = parts[0] == "api"
            hub_id, verb, *rest = (
                "/".join(parts[2:4] if api else parts[:2]),
                *(parts[4:] if api else parts[2:]),
            )
            if hub_id in gated:
                return self.refuse("gated")
            if hub_id not in repositories and hub_id not in trees:
                return self.refuse("missing")
            revisions = repositories.get(hub_id) or trees[hub_id]
            if verb == "discussions":
                found = [
                    PROPOSAL | {"num": int(name.split("/")[-1]), "author": {"name": author}}
                    for name, author in proposals.items()
                ]
                return self.answer(
                    200,
                    json.dumps({"discussions": found, "count": len(found), "start": 0}).encode(),
                )
            if verb == "refs":
                names = [r for r in revisions if not COMMIT.fullmatch(r)]
                branches = [
                    {"name": r, "ref": f"refs/heads/{r}", "targetCommit": commit(hub_id, r)}
                    for r in names
                ]
                return self.answer(
                    200, json.dumps({"branches": branches, "tags": [], "converts": []}).encode()
                )
            if verb == "commits":
                about = {
                    "authors": [],
                    "date": "2024-01-01T00:00:00.000Z",
                    "title": "Upload",
                    "message": "",
                }
                listed = [{"id": r} | about for r in revisions if COMMIT.fullmatch(r)]
                return self.answer(200, json.dumps(listed).encode())
            if (hub_id, rest[0]) in broken:
                return self.answer(400, b"{}")
            named = next((r for r in revisions if rest[0] in (r, commit(hub_id, r))), None)
            if named is None:
                return self.refuse("revision")
            if hub_id in trees:
                if verb == "tree":
                    return self.answer(
                        200, json.dumps(revisions[named]).encode(), Content_Type="application/json"
                    )
                content = next(
                    e["content"] for e in revisions[named] if e["path"] == rest[1]
                )  # verb: resolve
                return self.answer(200, json.dumps(content).encode())
            files, sha = revisions[named], commit(hub_id, named)
            if verb == "revision":
                siblings = [{"rfilename": name} for name in files]
                return self.answer(
                    200, json.dumps({"id": hub_id, "sha": sha, "siblings": siblings}).encode()
                )
            if verb == "tree":
                tree = [
                    {
                        "type": "file",
                        "path": name,
                        "size": len(body),
                        "oid": hashlib.sha1(body).hexdigest(),
                    }
                    for name, body in files.items()
                ]
                return self.answer(200, json.dumps(tree).encode(), Content_Type="application/json")
            body = files["/".join(rest[1:])]  # verb: resolve
            etag = f'"{hashlib.sha1(body).hexdigest()}"'
            return self.answer(200, body, ETag=etag, X_Repo_Commit=sha, Accept_Ranges="bytes")

        do_HEAD = do_GET

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
