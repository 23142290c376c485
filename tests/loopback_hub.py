"""A small Hugging Face Hub on 127.0.0.1, for tests: the real clients talk to a real HTTP server.

    with LoopbackHub() as hub:
        hub.add("nvidia/mit-b0", {"config.json": b"{}"})
        done = hub.run("-c", "from transformers import ...", home=tmp_path)

It keeps repositories in memory and speaks what `huggingface_hub`, `datasets`, `transformers` and
`evaluate` ask for: files by HEAD and GET (with checksums as ETags, and ranges), repository
information, trees, commits and pull requests; for uploads `whoami-v2`, `repos/create`,
`validate-yaml`, `preupload`, git-LFS with its basic transfer, and commits. Private and gated
repositories ask for a token as the Hub does. `hub.fault` makes chosen requests fail.

The libraries read `HF_ENDPOINT` when they are imported, so a client is a process of its own;
it may ask for faults too, by POST to `/control/faults`. Every request is kept in `hub.requests`.
A second port is named to the clients as their proxy for all other addresses: nothing is
forwarded, and what was asked of it is kept in `hub.strangers`, so that a test can show that
nobody tried to leave the machine. Both ports are chosen by the system, and close with the block.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import math
import os
import re
import subprocess
import sys
import threading
import zipfile
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

KINDS = {"models": "model", "datasets": "dataset", "spaces": "space"}
_LARGE = (".safetensors", ".bin", ".parquet", ".png", ".jpg", ".arrow")


def is_large(path: str) -> bool:
    """Whether the Hub would keep the file in git-LFS, and name it by its SHA-256."""
    return path.endswith(_LARGE)


def checksum(path: str, content: bytes) -> str:
    """The ETag of a file: SHA-256 of large files, git's SHA-1 of the others."""
    if is_large(path):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def files_holding(place: Path, secret: str) -> list[Path]:
    """The files below a folder that hold a text, also inside of zip archives (.bin, .pt)."""
    found = []
    for file in place.rglob("*"):
        if not file.is_file():
            continue
        contents = [file.read_bytes()]
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                contents += [archive.read(name) for name in archive.namelist()]
        if any(secret.encode() in content for content in contents):
            found.append(file)
    return found


@dataclass
class Commit:
    """All files of a repository at one time."""

    title: str
    files: dict[str, bytes]
    parents: list[str]
    oid: str = ""

    def __post_init__(self) -> None:
        if not self.oid:
            said = json.dumps([self.title, self.parents, sorted(self.files)])
            said += "".join(checksum(path, self.files[path]) for path in sorted(self.files))
            self.oid = hashlib.sha1(said.encode()).hexdigest()


@dataclass
class Repository:
    """One repository: its commits by id, and which of them a branch or pull request names."""

    kind: str
    id: str
    private: bool = False
    gated: bool = False
    commits: dict[str, Commit] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    discussions: list[dict[str, Any]] = field(default_factory=list)

    def commit(self, title: str, files: dict[str, bytes], ref: str = "main", oid: str = "") -> str:
        """Add a commit on top of `ref` that holds exactly these files; return its id."""
        parents = [self.refs[ref]] if ref in self.refs else []
        made = Commit(title, dict(files), parents, oid)
        self.commits[made.oid] = made
        self.refs[ref] = made.oid
        return made.oid

    def at(self, revision: str) -> Commit | None:
        return self.commits.get(self.refs.get(revision, revision))


@dataclass
class Fault:
    """What happens to the next `times` requests whose "METHOD /path" matches `pattern`."""

    pattern: str
    times: int = 1
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    """Close the connection after so many bytes of the body."""
    corrupt: bool = False
    """Send the right number of bytes, one of them wrong."""
    short: bool = False
    """Send half of the file as if that were all."""


_FAULT: ContextVar[Fault | None] = ContextVar("fault of this request", default=None)


class LoopbackHub:
    """The server; see the module's docstring. A context manager, served by a thread of its own.

    Attributes:
        url: address, as for `HF_ENDPOINT`.
        repositories: by (kind, id); kind is "model", "dataset" or "space".
        tokens: the tokens that are accepted, with the name of the user.
        requests: (method, path, token or "") of everything that was asked.
        strangers: first lines of requests to any other address.
    """

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.tokens: dict[str, str] = {}
        self.requests: list[tuple[str, str, str]] = []
        self.strangers: list[str] = []
        self.faults: list[Fault] = []
        self._lfs: dict[str, bytes] = {}
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="loopback-hub", daemon=True)
        self.url = ""
        self._proxy = ""

    # --- for tests ------------------------------------------------------------------------------

    def add(
        self, repo_id: str, files: dict[str, bytes], kind: str = "model", **settings: Any
    ) -> Repository:
        """Make a repository with one commit on its main branch."""
        repository = Repository(kind, repo_id, **settings)
        repository.commit("initial commit", files)
        self.repositories[kind, repo_id] = repository
        return repository

    def files(self, repo_id: str, kind: str = "model") -> dict[str, bytes]:
        """What lies on a repository's main branch."""
        return self.repositories[kind, repo_id].at("main").files

    def fault(self, pattern: str, **settings: Any) -> None:
        """See `Fault`."""
        self.faults.append(Fault(pattern, **settings))

    def environment(self, home: Path, token: str | None = None) -> dict[str, str]:
        """Variables that point the clients here: own caches, no telemetry, no other address."""
        variables = {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "DISABLE_TELEMETRY": "1",
            "HF_UPDATE_DOWNLOAD_COUNTS": "0",
            "HF_HUB_DISABLE_XET": "1",  # a protocol of its own, for which files go elsewhere
            "HF_HUB_OFFLINE": "0",
            "HF_DATASETS_OFFLINE": "0",
            "HF_EVALUATE_OFFLINE": "0",
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            variables |= {name: self._proxy, name.lower(): self._proxy}
        return variables | ({"HF_TOKEN": token} if token else {})

    def run(
        self,
        *arguments: object,
        home: Path,
        token: str | None = None,
        cwd: Path | None = None,
        **variables: str,
    ) -> subprocess.CompletedProcess[str]:
        """Run Python with this as its Hub, as a user would: no settings of the tests' own.

        Args:
            arguments: after the name of the interpreter.
            home: for the caches, `HF_HOME`.
            token: `HF_TOKEN`.
            cwd: None: the repository.
            variables: further ones of the environment, which win.
        """
        tests = Path(__file__).resolve().parent
        own = {k: v for k, v in os.environ.items() if not k.startswith(("SEG_", "HF_"))}
        quiet = {"TQDM_DISABLE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        path = {"PYTHONPATH": f"{tests.parent}{os.pathsep}{tests}"}
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=cwd or tests.parent,
            env=own | self.environment(home, token) | quiet | path | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=900,
        )

    # --- starting and stopping ------------------------------------------------------------------

    def __enter__(self) -> LoopbackHub:
        self._thread.start()
        if not self._started.wait(30):
            raise RuntimeError("the loopback Hub did not start within 30 s")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join(timeout=30)

    def _serve(self) -> None:
        asyncio.run(self._serve_until_done())

    async def _serve_until_done(self) -> None:
        self._loop, self._done = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(client_max_size=2**30, middlewares=[self._middleware])
        app.add_routes([web.route("*", "/{rest:.*}", self._dispatch)])
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        proxy = await asyncio.start_server(self._stranger, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._proxy = f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
        self._started.set()
        await self._done.wait()
        proxy.close()
        await runner.cleanup()

    async def _stranger(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        asked = line.decode("latin-1").strip()
        # The Hub's data set viewer has an address of its own, made from that of the Hub; `datasets`
        # does without its answer.
        if not asked.startswith(f"GET {self.url.replace('://', '://datasets-server.')}/"):
            self.strangers.append(asked)
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    # --- requests -------------------------------------------------------------------------------

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.path.startswith("/control/"):
            return await handler(request)
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.requests.append((request.method, request.path_qs, token))
        asked = f"{request.method} {request.path_qs}"
        _FAULT.set(None)
        for fault in self.faults:
            if fault.times > 0 and re.search(fault.pattern, asked):
                fault.times -= 1
                if fault.status:
                    return web.Response(status=fault.status, headers=fault.headers)
                _FAULT.set(fault)
                break
        if token and token not in self.tokens:
            return _error(401, "", "Invalid credentials in Authorization header")
        return await handler(request)

    async def _dispatch(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        for method, pattern, handler in _ROUTES:
            if request.method in method and (match := re.fullmatch(pattern, path)):
                try:
                    return await handler(self, request, **match.groupdict())
                except _Refused as refused:
                    return refused.answer
        return _error(404, "", f"the loopback Hub does not know {request.method} {path}")

    def _find(self, request: web.Request, kind: str, repo_id: str) -> Repository:
        """The repository, or the answer that the Hub gives where one may not see it."""
        repository = self.repositories.get((kind, repo_id))
        known = bool(request.headers.get("Authorization"))
        if repository is None or (repository.private and not known):
            raise _Refused(_error(404 if known else 401, "RepoNotFound", "Repository not found"))
        return repository

    async def _resolve(
        self, request: web.Request, kind: str | None, repo_id: str, rev: str, path: str
    ) -> web.StreamResponse:
        repository = self._find(request, KINDS[kind.strip("/")] if kind else "model", repo_id)
        commit = _at(repository, rev)
        if repository.gated:
            known = bool(request.headers.get("Authorization"))
            return _error(403 if known else 401, "GatedRepo", "Access to this is restricted.")
        commit_header = {"X-Repo-Commit": commit.oid}
        if path not in commit.files:
            return _error(404, "EntryNotFound", "Entry not found", commit_header)
        content = commit.files[path]
        headers = commit_header | {
            "ETag": f'"{checksum(path, content)}"',
            "Accept-Ranges": "bytes",
            "Content-Type": "application/octet-stream",
        }
        status, part = 200, content
        if span := re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", "")):
            begin = int(span[1])
            end = min(int(span[2]) if span[2] else len(content) - 1, len(content) - 1)
            if begin > end:
                return web.Response(status=416, headers={"Content-Range": f"*/{len(content)}"})
            status, part = 206, content[begin : end + 1]
            headers["Content-Range"] = f"bytes {begin}-{end}/{len(content)}"
        fault = _FAULT.get()
        if fault and fault.corrupt and part:
            place = len(part) // 2
            part = part[:place] + bytes([part[place] ^ 0xFF]) + part[place + 1 :]
        if fault and fault.short and request.method == "GET":
            part = part[: len(part) // 2]
        response = web.StreamResponse(status=status, headers=headers)
        response.content_length = len(part)
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        if fault and fault.cut_after is not None:
            await response.write(part[: fault.cut_after])
            await asyncio.sleep(0.05)  # so that the bytes leave before the connection does
            request.transport.abort()
            return response
        await response.write(part)
        await response.write_eof()
        return response

    async def _info(
        self, request: web.Request, kind: str, repo_id: str, rev: str = "main"
    ) -> web.Response:
        repository = self._find(request, KINDS[kind], repo_id)
        commit = _at(repository, rev)
        return web.json_response(
            {
                "_id": repo_id,
                "id": repo_id,
                "modelId": repo_id,
                "author": repo_id.split("/")[0],
                "sha": commit.oid,
                "private": repository.private,
                "gated": "auto" if repository.gated else False,
                "disabled": False,
                "downloads": 0,
                "likes": 0,
                "tags": [],
                "lastModified": "2026-01-01T00:00:00.000Z",
                "createdAt": "2026-01-01T00:00:00.000Z",
                "siblings": [{"rfilename": path} for path in sorted(commit.files)],
            }
        )

    async def _auth_check(self, request: web.Request, kind: str, repo_id: str) -> web.Response:
        if self._find(request, KINDS[kind], repo_id).gated:
            return _error(403, "GatedRepo", "Access to this is restricted.")
        return web.json_response({})

    async def _tree(
        self, request: web.Request, kind: str, repo_id: str, rev: str, path: str | None
    ) -> web.Response:
        repository = self._find(request, KINDS[kind], repo_id)
        commit = _at(repository, rev)
        folder = f"{path.strip('/')}/" if path and path.strip("/") else ""
        inside = {p: c for p, c in commit.files.items() if p.startswith(folder)}
        if folder and not inside:
            return _error(404, "EntryNotFound", f"{folder} does not exist")
        deep = request.query.get("recursive", "").lower() in ("1", "true")
        return web.json_response(_entries(commit, inside, folder, deep))

    async def _paths_info(
        self, request: web.Request, kind: str, repo_id: str, rev: str
    ) -> web.Response:
        commit = _at(self._find(request, KINDS[kind], repo_id), rev)
        if request.content_type == "application/json":
            wanted = (await request.json())["paths"]
        else:
            wanted = (await request.post()).getall("paths")
        known = {entry["path"]: entry for entry in _entries(commit, commit.files, "", True)}
        return web.json_response([known[path] for path in wanted if path in known])

    async def _refs(self, request: web.Request, kind: str, repo_id: str) -> web.Response:
        repository = self._find(request, KINDS[kind], repo_id)
        branches = [
            {"name": name, "ref": f"refs/heads/{name}", "targetCommit": oid}
            for name, oid in repository.refs.items()
            if not name.startswith("refs/")
        ]
        return web.json_response({"branches": branches, "converts": [], "tags": []})

    async def _commits(
        self, request: web.Request, kind: str, repo_id: str, rev: str
    ) -> web.Response:
        repository = self._find(request, KINDS[kind], repo_id)
        history = [_at(repository, rev)]
        while history[-1].parents:
            history.append(repository.commits[history[-1].parents[0]])
        date = "2026-01-01T00:00:00.000Z"
        return web.json_response(
            [
                {"id": one.oid, "title": one.title, "message": "", "date": date, "authors": []}
                for one in history
            ]
        )

    async def _discussions(self, request: web.Request, kind: str, repo_id: str) -> web.Response:
        found = self._find(request, KINDS[kind], repo_id).discussions
        return web.json_response({"discussions": found, "count": len(found), "start": 0})

    # --- uploads --------------------------------------------------------------------------------

    def _user(self, request: web.Request) -> str:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not token:
            raise _Refused(_error(401, "", "Invalid username or password."))
        return self.tokens[token]

    async def _whoami(self, request: web.Request) -> web.Response:
        access = {"accessToken": {"role": "write", "displayName": "tests"}}
        return web.json_response(
            {"type": "user", "name": self._user(request), "orgs": [], "auth": access}
        )

    async def _create(self, request: web.Request) -> web.Response:
        user, asked = self._user(request), await request.json()
        kind = asked.get("type", "model")
        repo_id = f"{asked.get('organization') or user}/{asked['name']}"
        if repo_id.split("/")[0] != user:
            return _error(403, "", f"{user} has no right to create a repository there")
        prefix = "" if kind == "model" else f"{kind}s/"
        answer = {"url": f"{self.url}/{prefix}{repo_id}", "name": repo_id, "id": repo_id}
        if (kind, repo_id) in self.repositories:
            return web.json_response(answer | {"error": "exists"}, status=409)
        private = asked.get("private") or asked.get("visibility") == "private"
        self.add(repo_id, {}, kind, private=bool(private))
        return web.json_response(answer)

    async def _validate_yaml(self, request: web.Request) -> web.Response:
        content = (await request.json())["content"]
        block = re.match(r"---\n(.*?)\n---", content, flags=re.DOTALL)
        errors, warnings = [], []
        if not block:
            warnings.append({"message": "empty or missing yaml metadata in repo card"})
        else:
            try:
                errors = [
                    {"message": f"{value} is no number"}
                    for value in _leaves(yaml.safe_load(block[1]))
                    if isinstance(value, float) and not math.isfinite(value)
                ]
            except yaml.YAMLError as error:
                errors = [{"message": f"not valid YAML: {error}"}]
        status = 400 if errors else 200
        return web.json_response({"errors": errors, "warnings": warnings}, status=status)

    async def _preupload(
        self, request: web.Request, kind: str, repo_id: str, rev: str
    ) -> web.Response:
        self._user(request)
        commit = _at(self._find(request, KINDS[kind], repo_id), rev)
        return web.json_response(
            {
                "files": [
                    {
                        "path": file["path"],
                        "uploadMode": "lfs" if is_large(file["path"]) else "regular",
                        "shouldIgnore": False,
                        "oid": checksum(file["path"], commit.files[file["path"]])
                        if file["path"] in commit.files
                        else None,
                    }
                    for file in (await request.json())["files"]
                ]
            }
        )

    async def _lfs_batch(
        self, request: web.Request, kind: str | None, repo_id: str
    ) -> web.Response:
        self._user(request)
        asked = await request.json()
        objects = []
        for one in asked["objects"]:
            answer = {"oid": one["oid"], "size": one["size"]}
            if one["oid"] not in self._lfs:
                href = f"{self.url}/lfs/{one['oid']}"
                answer["actions"] = {
                    "upload": {"href": href},
                    "verify": {"href": f"{href}/verify"},
                }
            objects.append(answer)
        return web.json_response(
            {"transfer": "basic", "objects": objects},
            content_type="application/vnd.git-lfs+json",
        )

    async def _lfs_upload(self, request: web.Request, oid: str) -> web.Response:
        content = await request.read()
        if hashlib.sha256(content).hexdigest() != oid:
            return _error(400, "", "the checksum of the uploaded file is wrong")
        self._lfs[oid] = content
        return web.Response()

    async def _lfs_verify(self, request: web.Request, oid: str) -> web.Response:
        asked = await request.json()
        fits = oid in self._lfs and len(self._lfs[oid]) == asked["size"]
        return web.json_response({}, status=200 if fits else 404)

    async def _commit(
        self, request: web.Request, kind: str, repo_id: str, rev: str
    ) -> web.Response:
        self._user(request)
        repository = self._find(request, KINDS[kind], repo_id)
        files = dict(_at(repository, rev).files)
        title = ""
        for line in (await request.text()).splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header":
                title = value["summary"]
            elif entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                if value["oid"] not in self._lfs:
                    return _error(400, "", f"{value['path']} was not uploaded")
                files[value["path"]] = self._lfs[value["oid"]]
            elif entry["key"] == "deletedFile":
                files.pop(value["path"])
            else:
                return _error(400, "", f"the loopback Hub cannot do {entry['key']}")
        oid = repository.commit(title, files, rev)
        url = f"{self.url}/{repo_id}/commit/{oid}"
        return web.json_response(
            {"success": True, "commitOid": oid, "commitUrl": url, "pullRequestUrl": None}
        )

    async def _control(self, request: web.Request) -> web.Response:
        self.faults = [Fault(**fault) for fault in await request.json()]
        return web.json_response({})

    async def _front(self, request: web.Request) -> web.Response:
        return web.Response(text="a Hub for tests")


class _Refused(Exception):
    """Carries an answer out of the middle of a handler."""

    def __init__(self, answer: web.Response) -> None:
        super().__init__(answer.status)
        self.answer = answer


def _error(
    status: int, code: str, message: str, headers: dict[str, str] | None = None
) -> web.Response:
    headers = (
        {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {}) | (headers or {})
    )
    return web.json_response({"error": message}, status=status, headers=headers)


def _at(repository: Repository, revision: str) -> Commit:
    commit = repository.at(revision)
    if commit is None:
        raise _Refused(_error(404, "RevisionNotFound", f"Invalid rev id: {revision}"))
    return commit


def _entries(
    commit: Commit, files: dict[str, bytes], folder: str, deep: bool
) -> list[dict[str, Any]]:
    """Files, and the folders that hold them, as the Hub lists them."""
    entries: dict[str, dict[str, Any]] = {}
    for path in sorted(files):
        parts = path.removeprefix(folder).split("/")
        depths = range(1, len(parts)) if deep else range(1, min(2, len(parts)))
        for depth in depths:
            name = folder + "/".join(parts[:depth])
            entries[name] = {"type": "directory", "path": name, "size": 0, "oid": commit.oid}
        if deep or len(parts) == 1:
            content = files[path]
            entry = {"type": "file", "path": path, "size": len(content)}
            entry["oid"] = hashlib.sha1(content).hexdigest()
            if is_large(path):
                sha = checksum(path, content)
                entry["lfs"] = {"oid": sha, "size": len(content), "pointerSize": 134}
            entries[path] = entry
    return list(entries.values())


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in _leaves(item)]
    if isinstance(value, list):
        return [leaf for item in value for leaf in _leaves(item)]
    return [value]


_ID = r"(?P<repo_id>[^/]+/[^/]+)"
_API = rf"/api/(?P<kind>models|datasets|spaces)/{_ID}"
# A revision may hold a slash (refs/pr/1); clients quote it, and the server unquotes it.
_REV = r"(?P<rev>refs/[^/]+/[^/]+|[^/]+)"
_ROUTES = [
    (("HEAD", "GET"), rf"/(?P<kind>datasets/|spaces/)?{_ID}/resolve/{_REV}/(?P<path>.+)",
     LoopbackHub._resolve),
    (("GET",), _API, LoopbackHub._info),
    (("GET",), rf"{_API}/auth-check", LoopbackHub._auth_check),
    (("GET",), rf"{_API}/revision/{_REV}", LoopbackHub._info),
    (("GET",), rf"{_API}/tree/{_REV}(?P<path>/.*)?", LoopbackHub._tree),
    (("POST",), rf"{_API}/paths-info/{_REV}", LoopbackHub._paths_info),
    (("GET",), rf"{_API}/refs", LoopbackHub._refs),
    (("GET",), rf"{_API}/commits/{_REV}", LoopbackHub._commits),
    (("GET",), rf"{_API}/discussions", LoopbackHub._discussions),
    (("GET",), r"/api/whoami-v2", LoopbackHub._whoami),
    (("POST",), r"/api/repos/create", LoopbackHub._create),
    (("POST",), r"/api/validate-yaml", LoopbackHub._validate_yaml),
    (("POST",), rf"{_API}/preupload/{_REV}", LoopbackHub._preupload),
    (("POST",), rf"/(?P<kind>datasets/)?{_ID}\.git/info/lfs/objects/batch",
     LoopbackHub._lfs_batch),
    (("PUT",), r"/lfs/(?P<oid>[0-9a-f]{64})", LoopbackHub._lfs_upload),
    (("POST",), r"/lfs/(?P<oid>[0-9a-f]{64})/verify", LoopbackHub._lfs_verify),
    (("POST",), rf"{_API}/commit/{_REV}", LoopbackHub._commit),
    (("POST",), r"/control/faults", LoopbackHub._control),
    (("HEAD", "GET"), r"/?", LoopbackHub._front),
]  # fmt: skip
