"""Real git repositories and real servers for them, on 127.0.0.1: git daemon, and git's own HTTP backend."""

import base64
import contextlib
import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

IDENTITY = {"NAME": "t", "EMAIL": "t@example.invalid", "DATE": "2026-01-02T03:04:05Z"}
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "LC_ALL": "C.UTF-8",
    **{f"GIT_{who}_{key}": value for who in ("AUTHOR", "COMMITTER") for key, value in IDENTITY.items()},
}


def git(*argv, cwd, data=None, **env):
    """Run git under nobody's configuration; what it printed."""
    done = subprocess.run(
        ["git", *argv], cwd=cwd, env={**ENVIRONMENT, **env}, input=data, check=True, capture_output=True
    )
    return done.stdout.decode().strip()


def repository(folder, files=None):
    """A new repository with one commit that holds the files (path → bytes)."""
    folder.mkdir(parents=True)
    git("init", "--quiet", "--initial-branch=main", ".", cwd=folder)
    git("config", "core.autocrlf", "false", cwd=folder)
    return Remote(folder).commit(files or {"a.txt": b"a\n"})


class Remote:
    """A repository to fetch from: what is committed where, with git's own words for it."""

    def __init__(self, folder):
        self.folder = folder

    def git(self, *argv, **more):
        return git(*argv, cwd=self.folder, **more)

    def commit(self, files=(), message="c"):
        for path, content in dict(files).items():
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / path).write_bytes(content)
        self.git("add", "--all", "--force", ".")
        self.git("commit", "--quiet", "--allow-empty", "-m", message)
        return self

    def tag(self, name, *, annotated=False, force=False):
        options = [*(["-a", "-m", "t"] if annotated else []), *(["--force"] if force else [])]
        self.git("tag", *options, name)
        return self

    def submodule(self, path, url, other):
        """Pin the head of another repository at a path, under the URL that .gitmodules is to say."""
        listed = self.folder / ".gitmodules"
        before = listed.read_text() if listed.exists() else ""
        listed.write_text(f'{before}[submodule "{path}"]\n\tpath = {path}\n\turl = {url}\n')
        (self.folder / path).mkdir(parents=True)  # as in a clone without its submodules: git then keeps the pin
        self.git("add", ".gitmodules")
        self.git("update-index", "--add", "--cacheinfo", f"160000,{other.head},{path}")
        self.git("commit", "--quiet", "-m", f"pin {path}")
        return self

    def drop_history(self):
        """Start the branch anew, as a forced push does, and forget what was there."""
        self.git("checkout", "--quiet", "--orphan", "other")
        self.git("commit", "--quiet", "--allow-empty", "-m", "other")
        self.git("branch", "--force", "main")
        self.git("reflog", "expire", "--expire=now", "--all")
        self.git("gc", "--quiet", "--prune=now")
        return self

    @property
    def url(self):
        return self.folder.as_uri()

    @property
    def head(self):
        return self.git("rev-parse", "HEAD")

    @property
    def tree(self):
        return self.git("rev-parse", "HEAD^{tree}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def daemon(root):
    """git daemon over every repository below ``root``; gives the URL of the root."""
    port = free_port()
    server = subprocess.Popen(
        [
            "git", "daemon", "--reuseaddr", "--export-all", "--listen=127.0.0.1", f"--port={port}",
            f"--base-path={root}", os.fspath(root),
        ],
        env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        wait_for(port)
        yield f"git://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, 15)  # git starts git-daemon as a child of its own
        server.wait()


def wait_for(port):
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise AssertionError("git daemon did not start")


class _Backend(BaseHTTPRequestHandler):
    """git's smart HTTP, by CGI; with a user and a password where the server has one."""

    protocol_version = "HTTP/1.0"

    def do_GET(self):
        self.answer(b"")

    def do_POST(self):
        self.answer(self.rfile.read(int(self.headers["Content-Length"])))

    def answer(self, body):
        if self.server.secret and self.headers.get("Authorization") != self.server.secret:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        env = {
            **ENVIRONMENT, "GIT_PROJECT_ROOT": os.fspath(self.server.root), "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path, "QUERY_STRING": query, "REQUEST_METHOD": self.command, "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_TYPE": self.headers.get("Content-Type", ""), "CONTENT_LENGTH": str(len(body)),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
        }  # fmt: skip
        if self.server.stall is not None and path.endswith("/git-upload-pack") and b"command=fetch" in body:
            self.server.stall.release()
            self.server.go_on.wait(60)
        done = subprocess.run(["git", "http-backend"], env=env, input=body, capture_output=True, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().splitlines())
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()
        self.server.sent += len(content)
        with contextlib.suppress(OSError):  # whoever asked may have been killed
            self.wfile.write(content)

    def log_message(self, *_):
        pass


class Http(ThreadingHTTPServer):
    """What a test sees of the server, and sets.

    ``sent``: bytes of content. ``stall``: released when a fetch begins, which then waits for ``go_on``.
    """

    def __init__(self, root, secret, tls):
        super().__init__(("127.0.0.1", 0), _Backend)
        self.scheme = "https" if tls else "http"
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.root, self.secret, self.sent = root, secret, 0
        self.stall, self.go_on = None, threading.Event()

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.server_port}"

    def shutdown_request(self, request):
        if self.scheme == "https":
            with contextlib.suppress(OSError):
                request.unwrap()  # GnuTLS takes a connection that just ends for one that was cut
        super().shutdown_request(request)

    def handle_error(self, *_):
        """A client that goes away, or does not trust us, is no noise in a test's output."""


@contextlib.contextmanager
def http(root, user="", password="", tls=None):
    """git over HTTP for every repository below ``root``; for nobody else where there is a user.

    ``tls``: an ``ssl.SSLContext``.
    """
    secret = f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}" if user else ""
    server = Http(root, secret, tls)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.go_on.set()
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def silent():
    """A server that accepts and never answers; gives its port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        yield listener.getsockname()[1]


def without_git(folder):
    """A PATH on which there is no git."""
    folder.mkdir()
    for name in ("sh", Path(sys.executable).name):
        (folder / name).symlink_to(shutil.which(name) or sys.executable)
    return os.fspath(folder)


CONFIG = """
[core]
  autocrlf = true
  eol = crlf
  quotePath = true
  attributesFile = {home}/attributes
  excludesFile = {home}/excludes
  hooksPath = {home}/hooks
  fsmonitor = {home}/hooks/program
  abbrev = 40
[diff]
  noprefix = true
  mnemonicPrefix = true
  algorithm = patience
  external = {home}/hooks/program
  interHunkContext = 20
  context = 1
  renames = copies
  orderFile = {home}/order
  indentHeuristic = false
  suppressBlankEmpty = true
  relative = true
  submodule = log
  wsErrorHighlight = all
[diff "odd"]
  textconv = {home}/hooks/program
  command = {home}/hooks/program
  xfuncname = "line .*"
[filter "odd"]
  clean = {home}/hooks/program
  required = true
[color]
  ui = always
  diff = always
[i18n]
  commitEncoding = latin1
[init]
  templateDir = {home}/template
[include]
  path = {home}/not-there
[broken
"""
ATTRIBUTES = "* diff=odd filter=odd text eol=crlf ident working-tree-encoding=utf-16\n"


def hostile(home):
    """A home whose git is configured to spoil everything, and an environment to match.

    Where a program of it was run there is a file ``was-run`` in it afterwards.
    """
    for name in ("hooks", "template/info", ".config/git"):
        (home / name).mkdir(parents=True)
    (home / "hooks/program").write_text(f"#!/bin/sh\ntouch {home}/was-run\necho spoiled\n")
    (home / "hooks/program").chmod(stat.S_IRWXU)
    for name in ("pre-commit", "commit-msg", "post-commit", "post-index-change"):
        os.link(home / "hooks/program", home / "hooks" / name)
    for name in ("attributes", ".config/git/attributes", "template/info/attributes"):
        (home / name).write_text(ATTRIBUTES)
    for name in ("excludes", ".config/git/ignore", "template/info/exclude"):
        (home / name).write_text("*\n")
    (home / "order").write_text("z*\n")
    (home / ".gitconfig").write_text(CONFIG.format(home=home))
    environment = {
        "HOME": home, "XDG_CONFIG_HOME": home / ".config", "GIT_DIR": home / "nowhere", "GIT_WORK_TREE": home,
        "GIT_INDEX_FILE": home / "index", "GIT_EXTERNAL_DIFF": home / "hooks/program", "GIT_DIFF_OPTS": "--unified=0",
        "GIT_CONFIG_GLOBAL": home / ".gitconfig", "GIT_CONFIG_SYSTEM": home / ".gitconfig", "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "diff.noprefix", "GIT_CONFIG_VALUE_0": "true", "GIT_LITERAL_PATHSPECS": "1",
        "GIT_CONFIG_PARAMETERS": "'diff.context=0'", "GIT_OBJECT_DIRECTORY": home / "objects", "LC_ALL": "de_DE.UTF-8",
        "GIT_TEMPLATE_DIR": home / "template", "GIT_DEFAULT_HASH": "sha256", "GIT_TRACE": "1", "GIT_PAGER": "false",
        "GIT_ATTR_SOURCE": "HEAD", "GIT_AUTHOR_DATE": "yesterday", "GIT_NAMESPACE": "n", "GIT_OPTIONAL_LOCKS": "1",
    }  # fmt: skip
    return {name: str(value) for name, value in environment.items()}
