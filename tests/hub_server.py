"""A hub on loopback: olah serves git repositories with LFS, the routes here take uploads into them.

Nothing that is packaged takes uploads, so `application` speaks that half of the Hub's HTTP
interface itself: create, preupload, LFS batch, commit as NDJSON, tag, branch, and the Hub's errors
(401, 403, 404 with X-Error-Code). `HubServer` is the tests' end: it starts and stops the process
on a socket of its own, writes into the repositories, and orders a fault for one request.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import fnmatch
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

WRITER, READER = "hf_writer", "hf_reader"  # the two tokens that there are
NAMESPACES = ("tester", "zoo", "me")  # where the writer may write
LARGE = (".safetensors", ".model", ".pkl")
LICENCES = (
    "apache-2.0", "mit", "bsd-3-clause", "cc", "cc0-1.0", "cc-by-2.0", "cc-by-3.0", "cc-by-4.0",
    "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-sa-4.0", "unknown",
    "other",
)  # fmt: skip
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {}\n"


@dataclasses.dataclass(frozen=True)
class Repository:
    """A git repository where olah looks for it, with LFS objects and a mark if it is private."""

    path: Path

    @property
    def name(self) -> str:
        return "/".join(self.path.parts[-2:])

    @property
    def _private(self) -> Path:
        return self.path / ".git" / "private"

    @property
    def is_private(self) -> bool:
        return self._private.exists()

    def create(self, private: bool = False) -> None:
        self.path.mkdir(parents=True)
        self.git("init", "-q", "-b", "main")
        if private:
            self._private.touch()
        attributes = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LARGE)
        self.commit({".gitattributes": attributes.encode()}, message="initial commit")

    def git(self, *arguments: str) -> str:
        who = ("-c", "user.name=tester", "-c", "user.email=tester@localhost")
        command = ["git", "-C", str(self.path), *who, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def resolve(self, revision: str) -> str | None:
        """The commit of a branch, a tag or a commit."""
        try:
            return self.git("rev-parse", "--verify", "-q", revision + "^{commit}")
        except subprocess.CalledProcessError:
            return None

    def has(self, commit: str, name: str) -> bool:
        return name in self.git("ls-tree", "-r", "--name-only", "-z", commit).split("\0")

    def large_object(self, oid: str) -> Path:
        return self.path / ".git" / "lfs" / "objects" / oid[:2] / oid[2:4] / oid

    def store(self, content: bytes) -> str:
        """Keep an LFS object; returns its pointer."""
        oid = hashlib.sha256(content).hexdigest()
        place = self.large_object(oid)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        return POINTER.format(oid, len(content))

    def commit(
        self, files: dict[str, bytes | None], branch: str = "main", message: str = "change"
    ) -> str:
        """One commit on a branch; None deletes a file. What is large becomes an LFS object."""
        if self.resolve(branch):
            self.git("checkout", "-q", branch)
        for name, content in files.items():
            place = self.path / name
            if content is None:
                place.unlink()
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            if name.endswith(LARGE) and not content.startswith(POINTER[:20].encode()):
                content = self.store(content).encode()
            place.write_bytes(content)
        self.git("add", "-A", ".")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")

    def commit_folder(self, folder: Path, branch: str = "main") -> str:
        """One commit of all files of a folder."""
        names = [p.relative_to(folder) for p in sorted(folder.rglob("*")) if p.is_file()]
        return self.commit({str(name): (folder / name).read_bytes() for name in names}, branch)

    def files(self, revision: str = "main") -> dict[str, bytes]:
        """What a commit holds, LFS objects in place of their pointers."""
        names = self.git("ls-tree", "-r", "--name-only", "-z", revision).split("\0")
        return {name: self._content(revision, name) for name in names if name}

    def oids(self, revision: str) -> dict[str, str]:
        """What tells the client that a file is there already: git's, or the LFS object's."""
        found = {}
        for line in self.git("ls-tree", "-r", revision).splitlines():
            blob, name = line.split()[2], line.split("\t")[1]
            content = self._content(revision, name)
            large = name.endswith(LARGE)
            found[name] = hashlib.sha256(content).hexdigest() if large else blob
        return found

    def _content(self, revision: str, name: str) -> bytes:
        command = ["git", "-C", str(self.path), "show", f"{revision}:{name}"]
        content = subprocess.run(command, check=True, capture_output=True).stdout
        if content.startswith(POINTER[:20].encode()):
            return self.large_object(content.split(b"sha256:")[1][:64].decode()).read_bytes()
        return content


def repository(root: Path, name: str) -> Repository:
    return Repository(root / "mirrors" / "models" / name)


class HubServer:
    """The tests' end of the server process."""

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._process: subprocess.Popen[bytes] | None = None
        self.root = Path()

    def start(self, root: Path | None = None) -> None:
        """Start the process, or start it again. The socket is ours and stays open in between, so
        that a client waits where it would be refused."""
        self.root = root or self.root
        self._socket.listen(64)
        command = [sys.executable, __file__, str(self.root), str(self._socket.fileno())]
        with (self.root / "output.txt").open("ab") as output:
            self._process = subprocess.Popen(
                [*command, self.endpoint],
                pass_fds=[self._socket.fileno()],
                stdout=output,
                stderr=output,
            )

    def wait_until_it_answers(self) -> None:
        with urllib.request.urlopen(f"{self.endpoint}/_ready", timeout=120) as answer:
            answer.read()

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """Stop the process and give the socket back: clients are refused from now on."""
        self.stop()
        self._socket.close()

    @contextlib.contextmanager
    def restarted_when_it_stops(self) -> Any:
        """The process is started again when it has stopped by itself."""
        process = self._process

        def restart() -> None:
            process.wait(timeout=30)
            self.start()

        thread = threading.Thread(target=restart)
        thread.start()
        yield
        thread.join()

    def repository(self, name: str) -> Repository:
        return repository(self.root, name)

    def create(self, name: str, private: bool = False) -> Repository:
        found = self.repository(name)
        shutil.rmtree(found.path, ignore_errors=True)
        found.create(private)
        return found

    def order(self, what: str, request: str, after: int = 0) -> None:
        """A fault for the first request whose method and path hold the words of `request`.

        `what` is "stop" (the process ends after so many bytes of the answer), "truncate" (the
        answer is so long, and says it were whole), "hang", or a status such as "507".
        """
        fault = {"what": what, "request": request, "after": after}
        (self.root / "fault.json").write_text(json.dumps(fault))

    def wait_for(self, request: str) -> None:
        """Until a request whose method and path hold the words of `request` has come."""
        for _ in range(1500):
            if any(all(word in line for word in request.split()) for line in self.requests()):
                return
            time.sleep(0.02)
        raise TimeoutError(f"no request {request!r} came: {self.requests()}")

    def requests(self) -> list[str]:
        """Method and path of each request since `forget`."""
        path = self.root / "requests.txt"
        return path.read_text().splitlines() if path.exists() else []

    def forget(self) -> None:
        """Forget requests and faults."""
        for name in ("requests.txt", "fault.json"):
            (self.root / name).unlink(missing_ok=True)


# --- the process -----------------------------------------------------------------------------


def _refuse(status: int, message: str, code: str = "") -> Any:
    from starlette.responses import JSONResponse

    headers = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {})}
    return JSONResponse({"error": message}, status, headers)


def metadata_errors(card: str) -> list[str]:
    """What the Hub finds wrong in a card's metadata, as `/api/validate-yaml` does; of its licences
    those that we could name."""
    import yaml

    found = re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)
    head = (yaml.safe_load(found[1]) if found else None) or {}
    errors = []

    def must(place: str, value: Any, pattern: str) -> None:
        if not re.fullmatch(pattern, str(value), re.ASCII):
            errors.append(f'"{place}" with value "{value}" fails to match the pattern: /{pattern}/')

    if head.get("license", "other") not in LICENCES:
        errors.append(f'"license" must be one of [{", ".join(LICENCES)}]')
    if "license_name" in head:
        must("license_name", head["license_name"], r"[a-z0-9-.]+")
    if "license_link" in head:
        must("license_link", head["license_link"], r"https?://\S+|LICENSE(\.md)?")
    for i, model in enumerate(head.get("model-index", ())):
        for j, result in enumerate(model["results"]):
            place = f"model-index[{i}].results[{j}].dataset.type"
            must(place, result["dataset"]["type"], r"(?:[\w-]+/)?[\w.-]+")
    return errors


def _refused(root: Path, request: Any) -> Any:
    """The Hub's answer to a request that may not be made, or is for what is not there."""
    token = request.headers.get("authorization", "").removeprefix("Bearer ")
    if token and token not in (WRITER, READER):
        return _refuse(401, "Invalid credentials in Authorization header")
    parts = request.url.path.strip("/").split("/")
    writes = request.method in ("POST", "PUT") and parts[:2] != ["api", "validate-yaml"]
    if writes and parts[0] != "_lfs" and not token:
        return _refuse(401, "Invalid username or password.")
    if parts[:2] in (["api", "models"], ["api", "repos"]):
        parts = parts[2:]
    if len(parts) < 2 or parts[0] in ("create", "_lfs", "api"):
        return None
    found = repository(root, "/".join(parts[:2]).removesuffix(".git"))
    if not found.path.exists() or (found.is_private and not token):
        return _refuse(404 if token else 401, "Repository not found", "RepoNotFound")
    if writes and (token == READER or parts[0] not in NAMESPACES):
        return _refuse(403, "you must use a write token to write to this repository")
    if parts[2:3] == ["resolve"]:
        commit = found.resolve(parts[3])
        if commit is None:
            return _refuse(404, f"Invalid rev id: {parts[3]}", "RevisionNotFound")
        if not found.has(commit, "/".join(parts[4:])):
            return _refuse(404, "Entry not found", "EntryNotFound")
    named = parts[3] if parts[2:3] and parts[2] in ("revision", "preupload", "commit") else "main"
    if found.resolve(named) is None:
        return _refuse(404, f"Invalid rev id: {named}", "RevisionNotFound")
    return None


def application(root: Path, endpoint: str) -> Any:
    """The routes that take uploads, in front of olah's."""
    from olah import server as olah
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Mount, Route

    (root / "olah.toml").write_text(
        f'[basic]\nhost="127.0.0.1"\nrepos-path="{root}/cache"\nmirrors-path=["{root}/mirrors"]\n'
        'hf-scheme="http"\nhf-netloc="127.0.0.1:1"\n[accessibility]\noffline=true\n'
    )
    sys.argv = ["olah", "-c", str(root / "olah.toml"), "--log-path", str(root / "logs")]
    olah.init()
    lock = threading.Lock()

    def named(request: Request) -> Repository:
        return repository(root, "{owner}/{name}".format(**request.path_params))

    async def create(request: Request) -> Response:
        told = await request.json()
        owner = told.get("organization") or "tester"
        token = request.headers["authorization"].removeprefix("Bearer ")
        if token == READER or owner not in NAMESPACES:
            return _refuse(403, f"You don't have the rights to create a model under {owner}")
        made = repository(root, f"{owner}/{told['name']}")
        answer = {"url": f"{endpoint}/{owner}/{told['name']}", "name": f"{owner}/{told['name']}"}
        if made.path.exists():
            return JSONResponse({"error": "You already created this model repo", **answer}, 409)
        made.create(private=told.get("visibility") == "private")
        return JSONResponse(answer)

    async def valid_yaml(request: Request) -> Response:
        errors = metadata_errors((await request.json())["content"])
        told = {"errors": [{"message": error} for error in errors], "warnings": []}
        return JSONResponse(told, 400 if errors else 200)

    async def preupload(request: Request) -> Response:
        found, revision = named(request), request.path_params["revision"]
        present = found.oids(revision)
        ignored = []
        if found.has(revision, ".gitignore"):
            ignored = found.git("show", f"{revision}:.gitignore").splitlines()
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular",
                "shouldIgnore": any(fnmatch.fnmatch(file["path"], line) for line in ignored),
                "oid": present.get(file["path"]),
            }
            for file in (await request.json())["files"]
        ]
        return JSONResponse({"files": files})

    async def lfs_batch(request: Request) -> Response:
        base = "{}/_lfs/{owner}/{name}".format(endpoint, **request.path_params)
        objects = []
        for wanted in (await request.json())["objects"]:
            answer = {"oid": wanted["oid"], "size": wanted["size"]}
            if not named(request).large_object(wanted["oid"]).exists():
                answer["actions"] = {"upload": {"href": f"{base}/{wanted['oid']}"}}
            objects.append(answer)
        kind = "application/vnd.git-lfs+json"
        return JSONResponse({"transfer": "basic", "objects": objects}, media_type=kind)

    async def lfs_put(request: Request) -> Response:
        content = await request.body()
        if hashlib.sha256(content).hexdigest() != request.path_params["oid"]:
            return JSONResponse({"error": "the content is not the object's"}, 400)
        named(request).store(content)
        return Response()

    async def commit(request: Request) -> Response:
        found, files, header = named(request), {}, {}
        for line in (await request.body()).splitlines():
            key, value = json.loads(line)["key"], json.loads(line)["value"]
            if key == "header":
                header = value
            elif key == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif key == "lfsFile":
                if not found.large_object(value["oid"]).exists():
                    return JSONResponse({"error": "an LFS object is missing"}, 400)
                files[value["path"]] = POINTER.format(value["oid"], value["size"]).encode()
            elif key == "deletedFile":
                files[value["path"]] = None
        branch = request.path_params["revision"]
        with lock:
            if header.get("parentCommit", found.resolve(branch)) != found.resolve(branch):
                return _refuse(412, "A commit has happened since. Please refresh and try again.")
            oid = found.commit(files, branch, header["summary"])
        url = "{}/{owner}/{name}/commit/{}".format(endpoint, oid, **request.path_params)
        return JSONResponse({"success": True, "commitOid": oid, "commitUrl": url})

    async def reference(request: Request) -> Response:
        found, place = named(request), request.path_params["revision"]
        told = await request.json()
        if request.path_params["kind"] == "tag":
            name, commit, arguments = told["tag"], place, ["tag"]
        else:
            name, commit, arguments = place, told.get("startingPoint", "main"), ["branch"]
        if found.resolve(name):
            return _refuse(409, f"Reference {name} already exists")
        if found.resolve(commit) is None:
            return _refuse(404, f"Invalid rev id: {commit}", "RevisionNotFound")
        found.git(*arguments, name, commit)
        return JSONResponse({})

    async def latest(request: Request) -> Response:
        """olah answers only for a revision that is named."""
        path = request.url.path + "/revision/main?" + request.url.query
        return Response(status_code=307, headers={"location": path})

    api = "/api/models/{owner}/{name}"
    inside = Starlette(
        routes=[
            Route("/api/repos/create", create, methods=["POST"]),
            Route("/api/validate-yaml", valid_yaml, methods=["POST"]),
            Route(api, latest),
            Route(api + "/preupload/{revision}", preupload, methods=["POST"]),
            Route(api + "/commit/{revision}", commit, methods=["POST"]),
            Route(api + "/{kind:str}/{revision}", reference, methods=["POST"]),
            Route("/{owner}/{name}.git/info/lfs/objects/batch", lfs_batch, methods=["POST"]),
            Route("/_lfs/{owner}/{name}/{oid}", lfs_put, methods=["PUT"]),
            Mount("/", olah.app),
        ]
    )

    async def outside(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return await inside(scope, receive, send)
        request = Request(scope, receive)
        line = f"{request.method} {request.url.path}"
        with (root / "requests.txt").open("a") as log:
            log.write(line + "\n")
        if request.url.path == "/_ready":
            return await Response()(scope, receive, send)
        fault = _fault(root, line)
        if fault.get("what") == "hang":
            await _forever()
        if fault and fault["what"].isdecimal():
            return await _refuse(int(fault["what"]), "a fault was ordered")(scope, receive, send)
        refused = _refused(root, request)
        if refused is not None:
            return await refused(scope, receive, send)
        if request.method == "GET" and "/resolve/" in request.url.path:
            return await _send_file(await _answer(inside, scope, receive), request, fault, send)
        await inside(scope, receive, send)

    return outside


def _fault(root: Path, line: str) -> dict[str, Any]:
    """The fault that was ordered for this request; it comes once."""
    path = root / "fault.json"
    fault = json.loads(path.read_text()) if path.exists() else None
    if fault is None or not all(word in line for word in fault["request"].split()):
        return {}
    path.unlink()
    return fault


async def _forever() -> None:
    import asyncio

    await asyncio.Event().wait()


async def _answer(app: Any, scope: Any, receive: Any) -> tuple[int, list[Any], bytes]:
    """What an application answers, whole."""
    status, headers, parts = 0, [], []

    async def send(message: Any) -> None:
        nonlocal status, headers
        if message["type"] == "http.response.start":
            status, headers = message["status"], message["headers"]
        else:
            parts.append(message.get("body", b""))

    await app(scope, receive, send)
    return status, headers, b"".join(parts)


async def _send_file(
    answer: tuple[int, list[Any], bytes], request: Any, fault: dict[str, Any], send: Any
) -> None:
    """A file with its length and ranges, which olah's mirrors lack, and with the fault."""
    import asyncio

    status, headers, content = answer
    sizes = (b"content-length", b"content-range")
    headers = [(key, value) for key, value in headers if key.lower() not in sizes]
    asked = request.headers.get("range", "")
    if status == 200 and asked:
        begin = int(asked.removeprefix("bytes=").partition("-")[0])
        whole, content, status = len(content), content[begin:], 206
        headers.append((b"content-range", f"bytes {begin}-{whole - 1}/{whole}".encode()))
    if fault.get("what") == "truncate":
        content = content[: fault["after"]]
    headers.append((b"content-length", str(len(content)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    if fault.get("what") == "stop":
        part = content[: fault["after"]]
        await send({"type": "http.response.body", "body": part, "more_body": True})
        await asyncio.sleep(0.2)  # what was sent is on its way
        os._exit(1)
    await send({"type": "http.response.body", "body": content})


def _end_with(parent: int) -> None:
    """End when the tests do, however they end."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)


def main() -> None:
    import uvicorn

    threading.Thread(target=_end_with, args=[os.getppid()], daemon=True).start()
    root, number, endpoint = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    config = uvicorn.Config(application(root, endpoint), log_level="warning", lifespan="off")
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=number)])


if __name__ == "__main__":
    main()
