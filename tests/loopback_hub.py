"""A small Hugging Face Hub on 127.0.0.1, for tests: the real clients talk to a real HTTP server.

    with LoopbackHub() as hub:
        hub.add("nvidia/mit-b0", {"config.json": b"{}"})
        done = hub.run("-c", "from transformers import ...", home=tmp_path)

It keeps repositories in memory and answers what `from_pretrained`, `load_dataset`,
`evaluate.load`, `push_to_hub` and `HfApi.upload_folder` ask for, private and gated repositories
included. Files are named by git's SHA-1 and uploaded within their commit; Parquet files alone go by
git-LFS before it, since `datasets` has deleted its own copy by then.

The libraries read `HF_ENDPOINT` when they are imported, so a client is a process of its own. Every
request is kept in `hub.requests`. A second port is named to the clients as their proxy for all
other addresses: nothing is forwarded, and what was asked of it is kept in `hub.strangers`, so that
a test can show that nobody tried to leave the machine.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import subprocess
import sys
import threading
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web


def checksum(content: bytes) -> str:
    """The name of a file's content: git's SHA-1."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def files_holding(place: Path, secret: str) -> list[Path]:
    """The files below a folder that hold a text, also inside of zip archives (.bin, .pt)."""
    found = []
    for file in filter(Path.is_file, place.rglob("*")):
        contents = [file.read_bytes()]
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                contents += [archive.read(name) for name in archive.namelist()]
        if any(secret.encode() in content for content in contents):
            found.append(file)
    return found


@dataclass
class Repository:
    """One repository: all files of each commit by its id, and which commit is on main."""

    private: bool = False
    gated: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    main: str = ""

    def commit(self, files: dict[str, bytes]) -> str:
        """Put a commit on main that holds exactly these files; return its id."""
        names = {path: checksum(content) for path, content in files.items()}
        self.main = checksum(json.dumps([len(self.commits), names]).encode())
        self.commits[self.main] = dict(files)
        return self.main

    @property
    def files(self) -> dict[str, bytes]:
        """What lies on main."""
        return self.commits[self.main]


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
        self._lfs: dict[str, bytes] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    # --- for tests ------------------------------------------------------------------------------

    def add(
        self, repo_id: str, files: dict[str, bytes], kind: str = "model", **settings: bool
    ) -> Repository:
        """Make a repository with one commit; settings: private, gated."""
        repository = self.repositories[kind, repo_id] = Repository(**settings)
        repository.commit(files)
        return repository

    def run(
        self,
        *arguments: object,
        home: Path,
        token: str | None = None,
        cwd: Path | None = None,
        **variables: str,
    ) -> subprocess.CompletedProcess[str]:
        """Run Python with this as its Hub, as a user would: no settings of the tests' own.

        Its caches lie in `home`, and it runs in the repository unless `cwd` says otherwise.
        """
        tests = Path(__file__).resolve().parent
        own = {k: v for k, v in os.environ.items() if not k.startswith(("SEG_", "HF_"))}
        proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), self._proxy)
        proxies["NO_PROXY"] = "127.0.0.1,localhost"
        ours = {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "DISABLE_TELEMETRY": "1",
            "HF_UPDATE_DOWNLOAD_COUNTS": "0",
            "HF_HUB_DISABLE_XET": "1",  # a protocol of its own, for which files go elsewhere
            "HF_HUB_OFFLINE": "0",
            "HF_DATASETS_OFFLINE": "0",
            "HF_EVALUATE_OFFLINE": "0",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "TQDM_DISABLE": "1",
            "PYTHONPATH": f"{tests.parent}{os.pathsep}{tests}",
            **proxies,
            **{name.lower(): value for name, value in proxies.items()},
        }
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=cwd or tests.parent,
            env=own | ours | ({"HF_TOKEN": token} if token else {}) | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=3600,
        )

    # --- starting and stopping ------------------------------------------------------------------

    def __enter__(self) -> LoopbackHub:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(30)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=30)

    async def _start(self) -> None:
        app = web.Application(client_max_size=2**30, middlewares=[self._note])
        app.add_routes(self._routes())
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self._gate = await asyncio.start_server(self._stranger, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        self._proxy = f"http://127.0.0.1:{self._gate.sockets[0].getsockname()[1]}"

    async def _stop(self) -> None:
        self._gate.close()
        await self._runner.cleanup()

    async def _stranger(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = (await reader.readline()).decode("latin-1").strip()
        # The Hub's data set viewer, made from its address: `datasets` does without an answer.
        if not asked.startswith(f"GET {self.url.replace('://', '://datasets-server.')}/"):
            self.strangers.append(asked)
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    # --- requests -------------------------------------------------------------------------------

    def _routes(self) -> list[web.RouteDef]:
        repo = "{repo:[^/]+/[^/]+}"
        api = f"/api/{{kind:models|datasets|spaces}}/{repo}"
        return [
            web.get(f"/{{kind:(?:datasets/|spaces/)?}}{repo}/resolve/{{rev}}/{{path:.+}}",
                    self._resolve),
            web.get(f"{api}/auth-check", self._auth_check),
            web.get(f"{api}/revision/{{rev}}", self._info),
            web.get(f"{api}/tree/{{rev}}{{path:.*}}", self._tree),
            web.post(f"{api}/paths-info/{{rev}}", self._paths_info),
            web.get(api, self._info),
            web.get("/api/whoami-v2", self._whoami),
            web.post("/api/repos/create", self._create),
            web.post("/api/validate-yaml", self._validate_yaml),
            web.post(f"{api}/preupload/{{rev}}", self._preupload),
            web.post(f"/{{kind:(?:datasets/)?}}{repo}.git/info/lfs/objects/batch", self._lfs_batch),
            web.put("/lfs/{oid}", self._lfs_upload),
            web.post(f"{api}/commit/{{rev}}", self._commit),
        ]  # fmt: skip

    @web.middleware
    async def _note(self, request: web.Request, handler: Any) -> web.StreamResponse:
        token = _token(request)
        self.requests.append((request.method, request.path_qs, token))
        if token and token not in self.tokens:
            raise _refusal(401, "Invalid credentials in Authorization header")
        return await handler(request)

    def _find(self, request: web.Request) -> tuple[Repository, str, dict[str, bytes]]:
        """The repository, the commit's id and its files, if the one who asks may know of it."""
        kind = request.match_info["kind"].strip("/").removesuffix("s") or "model"
        repository = self.repositories.get((kind, request.match_info["repo"]))
        known = bool(_token(request))
        if repository is None or (repository.private and not known):
            raise _refusal(404 if known else 401, "Repository not found", "RepoNotFound")
        revision = request.match_info.get("rev", "main")
        oid = repository.main if revision == "main" else revision
        if oid not in repository.commits:
            raise _refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return repository, oid, repository.commits[oid]

    async def _auth_check(self, request: web.Request) -> web.Response:
        if self._find(request)[0].gated:
            raise _refusal(403 if _token(request) else 401, "Access is restricted", "GatedRepo")
        return web.json_response({})

    async def _resolve(self, request: web.Request) -> web.Response:
        await self._auth_check(request)
        _, oid, files = self._find(request)
        headers = {"X-Repo-Commit": oid, "Accept-Ranges": "bytes"}
        if (content := files.get(request.match_info["path"])) is None:
            raise _refusal(404, "Entry not found", "EntryNotFound", headers)
        begin, end, _ = request.http_range.indices(len(content))
        headers |= {"ETag": f'"{checksum(content)}"'}
        if partly := "Range" in request.headers:
            headers["Content-Range"] = f"bytes {begin}-{end - 1}/{len(content)}"
        return web.Response(status=206 if partly else 200, body=content[begin:end], headers=headers)

    async def _info(self, request: web.Request) -> web.Response:
        repository, oid, files = self._find(request)
        return web.json_response(
            {
                "id": request.match_info["repo"],
                "sha": oid,
                "private": repository.private,
                "gated": "auto" if repository.gated else False,
                "siblings": [{"rfilename": path} for path in sorted(files)],
            }
        )

    async def _tree(self, request: web.Request) -> web.Response:
        _, _, files = self._find(request)
        folder = request.match_info["path"].removeprefix("/")
        folder += "/" if folder else ""
        inside = [one for one in _entries(files) if one["path"].startswith(folder)]
        if folder and not inside:
            raise _refusal(404, f"{folder} does not exist", "EntryNotFound")
        if request.query.get("recursive", "").lower() not in ("1", "true"):
            inside = [one for one in inside if "/" not in one["path"].removeprefix(folder)]
        return web.json_response(inside)

    async def _paths_info(self, request: web.Request) -> web.Response:
        _, _, files = self._find(request)
        wanted = (await request.post()).getall("paths")
        return web.json_response([one for one in _entries(files) if one["path"] in wanted])

    # --- uploads --------------------------------------------------------------------------------

    def _user(self, request: web.Request) -> str:
        if not _token(request):
            raise _refusal(401, "Invalid username or password.")
        return self.tokens[_token(request)]

    async def _whoami(self, request: web.Request) -> web.Response:
        return web.json_response({"type": "user", "name": self._user(request), "orgs": []})

    async def _create(self, request: web.Request) -> web.Response:
        user, asked = self._user(request), await request.json()
        kind = asked.get("type", "model")
        repo_id = f"{asked.get('organization') or user}/{asked['name']}"
        if repo_id.split("/")[0] != user:
            raise _refusal(403, f"{user} has no right to create a repository there")
        prefix = "" if kind == "model" else f"{kind}s/"
        answer = {"url": f"{self.url}/{prefix}{repo_id}", "name": repo_id, "id": repo_id}
        if (kind, repo_id) in self.repositories:
            return web.json_response(answer, status=409)
        self.add(repo_id, {}, kind, private=asked.get("visibility") == "private")
        return web.json_response(answer)

    async def _validate_yaml(self, request: web.Request) -> web.Response:
        return web.json_response({"errors": [], "warnings": []})

    async def _preupload(self, request: web.Request) -> web.Response:
        _, _, files = self._find(request)
        told = [
            {
                "path": path,
                "uploadMode": "lfs" if path.endswith(".parquet") else "regular",
                "shouldIgnore": False,
                "oid": checksum(files[path]) if path in files else None,
            }
            for path in (one["path"] for one in (await request.json())["files"])
        ]
        return web.json_response({"files": told})

    async def _lfs_batch(self, request: web.Request) -> web.Response:
        objects = [
            one | {"actions": {"upload": {"href": f"{self.url}/lfs/{one['oid']}"}}}
            for one in (await request.json())["objects"]
        ]
        return web.json_response({"transfer": "basic", "objects": objects})

    async def _lfs_upload(self, request: web.Request) -> web.Response:
        self._lfs[request.match_info["oid"]] = await request.read()
        return web.Response()

    async def _commit(self, request: web.Request) -> web.Response:
        self._user(request)
        repository, _, files = self._find(request)
        files = dict(files)
        for line in (await request.text()).splitlines():
            kind, value = json.loads(line).values()
            if kind == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif kind == "lfsFile":
                files[value["path"]] = self._lfs[value["oid"]]
            elif kind == "deletedFile":
                del files[value["path"]]
            elif kind != "header":
                raise _refusal(400, f"the loopback Hub cannot do {kind}")
        oid = repository.commit(files)
        url = f"{self.url}/{request.match_info['repo']}/commit/{oid}"
        return web.json_response({"success": True, "commitOid": oid, "commitUrl": url})


def _token(request: web.Request) -> str:
    return request.headers.get("Authorization", "").removeprefix("Bearer ")


def _refusal(
    status: int, message: str, code: str = "", headers: dict[str, str] | None = None
) -> web.HTTPException:
    """What a handler raises in order to answer with an error."""
    kinds = {400: web.HTTPBadRequest, 401: web.HTTPUnauthorized, 403: web.HTTPForbidden}
    told = {"X-Error-Message": message, "X-Error-Code": code} | (headers or {})
    return kinds.get(status, web.HTTPNotFound)(headers=told, text=message)


def _entries(files: dict[str, bytes]) -> list[dict[str, Any]]:
    """Files, and the folders that hold them, as the Hub lists them."""
    entries = {}
    for path, content in sorted(files.items()):
        for folder in Path(path).parents[:-1]:
            name = folder.as_posix()
            entries[name] = {"type": "directory", "path": name, "size": 0, "oid": checksum(b"")}
        size, oid = len(content), checksum(content)
        entries[path] = {"type": "file", "path": path, "size": size, "oid": oid}
    return list(entries.values())
