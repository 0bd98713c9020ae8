"""From one lock file, the same image on any machine: a patched aarch64 CUDA 13 vLLM for the NVIDIA DGX Spark.

Run a session with `./nox -s NAME`, its options after `--`:  ./nox -s build -- --target v0.22
What a session takes:  ./nox -s NAME -- --help
"""

import os
import subprocess
import sys

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["plan"]

LAUNCHER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "nox")


def run(*argv):
    """Run the project's own Python (the launcher makes it where it is missing) and keep its exit code.

    Not `session.run`: nox would turn each exit code into 1, mix standard error into standard output, and give
    the child half a second to clean up after Ctrl-C.
    """
    child = subprocess.Popen([sys.executable, LAUNCHER, "--exec", *argv])
    try:
        status = child.wait()
    except KeyboardInterrupt:
        child.wait()  # it got the same Ctrl-C
        raise
    if status != 0:
        sys.exit(status if status > 0 else 128 - status)


@nox.session
def plan(session):
    """What a build would do and why: steps, ids, downloads, disk"""
    run("-m", "build", "plan", *session.posargs)


@nox.session
def lock(session):
    """Resolve lock/targets.toml to hashes: the only step that looks up new versions"""
    run("-m", "build", "lock", *session.posargs)


@nox.session
def fetch(session):
    """Fill the store with every locked file"""
    run("-m", "build", "fetch", *session.posargs)


@nox.session
def checkout(session):
    """Source trees that the patches apply to, at their pinned commit or release"""
    run("-m", "build", "checkout", *session.posargs)


@nox.session
def patch(session):
    """Apply the target's series to them, exactly"""
    run("-m", "build", "patch", *session.posargs)


@nox.session
def render(session):
    """Write the Dockerfile"""
    run("-m", "build", "render", *session.posargs)


@nox.session
def build(session):
    """All of the above as needed, then the image"""
    run("-m", "build", "build", *session.posargs)


@nox.session
def smoke(session):
    """Run an image's own checks in it (-- --image REF)"""
    run("-m", "build", "smoke", *session.posargs)


@nox.session
def engine(session):
    """The private Docker Engine (-- up | down | status | rm)"""
    run("-m", "build", "engine", *session.posargs)


@nox.session
def clean(session):
    """Free space in the store"""
    run("-m", "build", "clean", *session.posargs)


@nox.session
def bench(session):
    """Measure builds: cold, unchanged, one line changed"""
    run("-m", "build", "bench", *session.posargs)


@nox.session
def lint(session):
    """For developers: ruff and mypy"""
    run("-m", "ruff", "check", *session.posargs)
    run("-m", "ruff", "format", "--check")
    run("-m", "mypy")


@nox.session
def tests(session):
    """For developers: the fast tests (-- --engine: all that this machine can run)"""
    run("-m", "pytest", "--doctest-modules", "tests", "build", *session.posargs)


@nox.session
def tools(session):
    """For developers: resolve lock/python.in to lock/python.txt (-- --upgrade)"""
    run(
        "-m", "uv", "pip", "compile", "--universal", "--python-version", "3.11", "--generate-hashes",
        "--no-emit-index-url", "--no-emit-find-links", "--no-annotate", "--quiet",
        "--custom-compile-command", "./nox -s tools", "lock/python.in", "-o", "lock/python.txt", *session.posargs,
    )  # fmt: skip
