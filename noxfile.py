"""From one lock file, the same image on any machine: a patched aarch64 CUDA 13 vLLM for the NVIDIA DGX Spark.

Run a session with `./nox -s NAME`, with its options after `--`:  ./nox -s build -- --target v0.22
What options a session takes:  ./nox -s NAME -- --help
"""

import os
import signal
import subprocess
import sys

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["plan"]

LAUNCHER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "nox")


def run(*argv: str) -> None:
    """Run the project's own Python (the launcher makes it where it is missing) and keep its exit code.

    Not `session.run`: nox would turn each exit code into 1, mix standard error into standard output, and give the
    child half a second to clean up after Ctrl-C.
    """
    child = subprocess.Popen([sys.executable, LAUNCHER, "--exec", *argv])
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    try:
        status = child.wait()
    except KeyboardInterrupt:
        child.wait()  # it got the same Ctrl-C
        raise
    if status != 0:
        sys.exit(status if status > 0 else 128 - status)


def verb(session: nox.Session) -> None:
    """Run the story of build/commands/ that is called like the session."""
    run("-m", "build", session.name, *session.posargs)


@nox.session
def plan(session: nox.Session) -> None:
    """What a build would do and why: steps, ids, downloads, disk."""
    verb(session)


@nox.session
def lock(session: nox.Session) -> None:
    """Resolve lock/targets.toml to hashes: the only step that looks up new versions."""
    verb(session)


@nox.session
def fetch(session: nox.Session) -> None:
    """Fill the store with every locked file; -- --export DIR writes a folder for a machine without a network."""
    verb(session)


@nox.session
def checkout(session: nox.Session) -> None:
    """Lay out the source trees that patches apply to, at their pinned commit or release."""
    verb(session)


@nox.session
def patch(session: nox.Session) -> None:
    """Apply the target's series to them, exactly; -- --check, --edit N and --refresh prove and change it."""
    verb(session)


@nox.session
def rebase(session: nox.Session) -> None:
    """Carry a series to another vLLM (-- --onto REF|VERSION), or all to all (-- --matrix)."""
    verb(session)


@nox.session
def render(session: nox.Session) -> None:
    """Write the Dockerfile."""
    verb(session)


@nox.session
def configure(session: nox.Session) -> None:
    """Let CMake configure a source target's whole project, and compare what it would compile with the stored list."""
    verb(session)


@nox.session
def build(session: nox.Session) -> None:
    """Do all of the above as needed, then make the image."""
    verb(session)


@nox.session
def smoke(session: nox.Session) -> None:
    """Run an image's own checks inside it (-- --image REF)."""
    verb(session)


@nox.session
def reproduce(session: nox.Session) -> None:
    """Build again from nothing, under other conditions, and compare with the recorded result (-- --vary LIST)."""
    verb(session)


@nox.session
def diff(session: nox.Session) -> None:
    """Explain how two images differ (-- A B), or what pulling one costs who has the other (--bytes)."""
    verb(session)


@nox.session
def images(session: nox.Session) -> None:
    """What was published, what of it runs here, and whether other machines run the same (-- --node URL)."""
    verb(session)


@nox.session
def push(session: nox.Session) -> None:
    """Publish an image by digest, signed, with all that goes with it (-- --repo ghcr.io/OWNER/NAME)."""
    verb(session)


@nox.session
def verify(session: nox.Session) -> None:
    """Check a published image as who pulled it would (-- REPOSITORY@sha256:…)."""
    verb(session)


@nox.session
def model(session: nox.Session) -> None:
    """Get a profile's model at its pinned revision, and look whether it is what the profile says (-- --profile P)."""
    verb(session)


@nox.session
def serve(session: nox.Session) -> None:
    """Serve a profile's model with the image that is for it (-- --profile P); -- stop, status, logs."""
    verb(session)


@nox.session
def validate(session: nox.Session) -> None:
    """Run the card's suite against a server (-- --url URL): a table, JSON and a page with charts."""
    verb(session)


@nox.session
def engine(session: nox.Session) -> None:
    """Run the private Docker Engine (-- up | down | status | rm)."""
    verb(session)


@nox.session
def clean(session: nox.Session) -> None:
    """Free space in the store; -- --keep-locked drops what no lock names."""
    verb(session)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure builds (-- --cold, --usual: from nothing, beside the usual way), or fetching (-- --fetch)."""
    verb(session)


@nox.session
def lint(session: nox.Session) -> None:
    """For developers: ruff and mypy (-- --fix mends what can be mended)."""
    fix = "--fix" in session.posargs
    run("-m", "ruff", "check", *(["--fix"] if fix else []))
    run("-m", "ruff", "format", *([] if fix else ["--check"]))
    run("-m", "mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """For developers: the fast tests (-- --engine adds those that build and run containers)."""
    run("-m", "pytest", *session.posargs)


@nox.session
def tools(session: nox.Session) -> None:
    """For developers: resolve lock/python.in to lock/python.txt (-- --upgrade)."""
    verb(session)
