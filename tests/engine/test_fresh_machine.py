"""The README's commands on machines where nothing is installed: bare Debian user spaces, entered as a jail.

They share this machine's kernel and network and nothing else: no pip, no venv, no git, no CA bundle in its usual
place; once with root, once with sudo and another umask, once with an Ubuntu's name. Run with `./nox -s tests -- --engine --slow tests/engine/test_fresh_machine.py`.
"""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from build import proc
from build.jail import Jail, command

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.programs("git", "mmdebstrap")]

REPO = Path(__file__).resolve().parents[2]
BUNDLE = os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")
BUNDLE_VARIABLES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
CLONE = "/srv/clone"
DIGESTS = pytest.StashKey[dict[str, list[str]]]()


@dataclass(frozen=True, kw_only=True)
class Machine:
    root: Path
    user: str

    def run(self, line: str) -> str:
        """Run a shell line in the clone, as the user; its output, or the test fails with it."""
        binds = [(Path("/etc/resolv.conf"), "/etc/resolv.conf"), (Path("/etc/hosts"), "/etc/hosts")]
        env = [(name, value) for name, value in proc.network_env().items() if "proxy" in name.lower()]
        if os.path.exists(BUNDLE):
            binds.append((Path(BUNDLE), "/srv/bundle.crt"))
            env += [(name, "/srv/bundle.crt") for name in BUNDLE_VARIABLES]
        jail = Jail(root=self.root, binds=tuple(binds), tmpfs=("/run", "/tmp"), env=tuple(env), writable=True)
        argv = proc.as_root(command(jail, ["su", self.user, "-c", f"cd {CLONE} && {line}"]), purpose="entering a root")
        # A PID namespace of its own: what is left running in there ends with it.
        argv = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", *argv]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        print(done.stdout, done.stderr, file=sys.stderr)
        assert done.returncode == 0, f"`{line}` ended with {done.returncode}"
        return done.stdout + done.stderr


@pytest.fixture(
    scope="module",
    params=[("trixie", "root", ""), ("bookworm", "root", ""), ("trixie", "somebody", "ubuntu")],
    ids=["trixie-root", "bookworm-root", "ubuntu-like-sudo"],
)
def machine(request, tmp_path_factory):
    suite, user, name = request.param
    root = tmp_path_factory.mktemp("machine") / suite
    packages = "python3" if user == "root" else "python3,sudo"
    proc.run(["mmdebstrap", "--variant=minbase", f"--include={packages}", suite, root], env=proc.network_env())
    clone = root / CLONE.lstrip("/")
    proc.run(["git", "clone", "--quiet", "--no-hardlinks", REPO, clone])
    if user != "root":
        proc.run(["chroot", root, "useradd", "--create-home", user])
        (root / "etc/sudoers.d/somebody").write_text(f"{user} ALL=(ALL) NOPASSWD: ALL\n")
        proc.run(["chroot", root, "chown", "-R", user, CLONE])
    if name:  # apt's sources stay Debian's: no Ubuntu mirror is reached here
        (root / "etc/os-release").unlink()
        (root / "etc/os-release").write_text(f"ID={name}\nID_LIKE=debian\n")
    yield Machine(root=root, user=user)
    proc.run(proc.as_root(["rm", "-rf", root], purpose="removing a root"))


def test_nothing_is_there(machine):
    for name in ("git", "pip3", "mmdebstrap", "docker", "uv"):
        machine.run(f"! command -v {name}")
    machine.run("! python3 -c 'import ensurepip'")


def test_the_tests_pass_and_the_host_stays_as_it_was(machine):
    packages = machine.run("dpkg --list")
    first = machine.run("./nox -l")
    assert "fetching the distribution's (python3-pip-whl)" in first
    assert "* plan" in first
    assert "passed" in machine.run("./nox -s lint tests")
    assert machine.run("dpkg --list") == packages


def test_the_small_target_is_built_passes_its_checks_and_is_the_same_everywhere(machine, request):
    mask = "022" if machine.user == "root" else "002"
    printed = machine.run(f"umask {mask}; ./nox -s build -- --target tiny")
    assert "nothing changed" in machine.run("./nox -s build -- --target tiny")
    assert "0 failed" in machine.run("./nox -s smoke -- --target tiny")
    digests = request.config.stash.setdefault(DIGESTS, {})
    digests[request.node.name] = re.findall(r"^spark-runtime:tiny +(sha256:[0-9a-f]{64})$", printed, re.MULTILINE)
    assert len({tuple(digest) for digest in digests.values()}) == 1, digests
    assert all(len(digest) == 1 for digest in digests.values()), digests


def test_the_main_job(machine):
    """The README's first command as it stands, from nothing, and the image's own checks."""
    if machine.user == "root":
        pytest.skip("once is enough, and the user with sudo has the harder way")
    assert "spark-runtime:v0.32" in machine.run("./nox -s build")
    assert "0 failed" in machine.run("./nox -s smoke")
