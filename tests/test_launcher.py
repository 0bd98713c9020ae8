"""The launcher, for real: environments of one tiny wheel, installed by pip from a folder, without any index."""

import ast
import hashlib
import importlib.machinery
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from build import errors, settings

REPO = Path(__file__).resolve().parent.parent
PIP_IS_HERE = any(importlib.util.find_spec(name) for name in ("ensurepip", "pip"))
needs_pip = pytest.mark.skipif(not PIP_IS_HERE, reason="no pip here but the distribution's, which needs the network")


def load_launcher():
    loader = importlib.machinery.SourceFileLoader("launcher", str(REPO / "nox"))
    spec = importlib.util.spec_from_loader("launcher", loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def launcher():
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    yield load_launcher()
    sys.dont_write_bytecode = before


class Machine:
    """A clone with a lock of one wheel, a folder to install it from, and a store."""

    def __init__(self, folder: Path, data: bytes = b"") -> None:
        self.repo, self.wheels, self.store = folder / "repo", folder / "wheels", folder / "a store"
        (self.repo / "lock").mkdir(parents=True)
        self.wheels.mkdir()
        shutil.copy(REPO / "nox", self.repo / "nox")
        (self.repo / "noxfile.py").write_text("raise SystemExit(33)\n")
        wheel = self.wheels / "tinytool-1.0-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("tinytool.py", "print('hello from', __file__)\n")
            archive.writestr("tinydata.bin", data)
            archive.writestr("nox/__init__.py", "")
            archive.writestr("nox/__main__.py", "import sys; print('nox', sys.argv[1:])\n")
            archive.writestr("tinytool-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tinytool\nVersion: 1.0\n")
            archive.writestr("tinytool-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            archive.writestr("tinytool-1.0.dist-info/RECORD", "")
        self.lock(hashlib.sha256(wheel.read_bytes()).hexdigest())
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))}
        self.env = clean | {
            "SPARK_RUNTIME_STORE": str(self.store),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.wheels),
        }

    def lock(self, sha256: str) -> None:
        (self.repo / "lock/python.txt").write_text(f"tinytool==1.0 --hash=sha256:{sha256}\n")

    def start(self, *argv: str, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, self.repo / "nox", *argv],
            env=self.env | env, cwd=self.wheels, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, *argv: str, **env: str) -> tuple[int, str, str]:
        child = self.start(*argv, **env)
        out, err = child.communicate(timeout=60)
        assert "Traceback" not in err
        return child.returncode, out, err

    def environments(self) -> list[Path]:
        return sorted(path for path in (self.store / "env").iterdir() if path.is_dir())


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_old_pythons_can_read_it():
    ast.parse((REPO / "nox").read_text(encoding="utf-8"), feature_version=(3, 6))
    assert os.access(REPO / "nox", os.X_OK)


def test_it_agrees_with_the_package(launcher, monkeypatch, tmp_path):
    kinds = (
        errors.BuildError, errors.HashMismatchError, errors.NetworkError, errors.OfflineError, errors.SpaceError,
        errors.CommandError,
    )  # fmt: skip
    ours = (
        launcher.CANNOT, launcher.HASH_MISMATCH, launcher.NETWORK, launcher.OFFLINE, launcher.DISK_FULL,
        launcher.COMMAND_FAILED,
    )  # fmt: skip
    assert ours == tuple(kind.exit_code for kind in kinds)
    for name, value in (("SPARK_RUNTIME_STORE", ""), ("SPARK_RUNTIME_STORE", "~/s"), ("XDG_CACHE_HOME", str(tmp_path))):
        monkeypatch.setenv(name, value)
        assert launcher.store() == str(settings.default_store())
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert launcher.store() == str(settings.default_store())


def test_an_old_python_is_turned_away(launcher, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "version_info", (3, 9, 2, "final", 0))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert launcher.main(["-l"]) == launcher.CANNOT
    assert "python3 is 3.9.2; at least 3.11 is needed" in capsys.readouterr().err


def test_without_any_pip_and_without_apt_it_says_so(launcher, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(launcher.LaunchError, match="there is no pip to install the tools with"):
        launcher.pip_from_debian(str(tmp_path / "scratch"))


@needs_pip
def test_the_first_run_makes_the_environment_and_the_second_uses_it(machine):
    status, out, err = machine.run("--exec", "-m", "tinytool", PYTHONPATH="/nonexistent", PIP_TARGET="/nonexistent")
    [place] = machine.environments()
    assert (status, out) == (0, f"hello from {place}/lib/python3.{sys.version_info[1]}/site-packages/tinytool.py\n")
    assert "making the environment" in err
    status, out, err = machine.run("-s", "build", "--", "--target", "x")
    assert (status, err) == (0, "")
    assert out == f"nox {['-f', str(machine.repo / 'noxfile.py'), '-s', 'build', '--', '--target', 'x']}\n"
    assert machine.run("--exec", "-c", "raise SystemExit(42)")[0] == 42


@needs_pip
def test_another_lock_is_another_environment(machine):
    machine.run("--exec", "-m", "tinytool")
    with (machine.repo / "lock/python.txt").open("a") as stream:
        stream.write("# changed\n")
    machine.run("--exec", "-m", "tinytool")
    assert len(machine.environments()) == 2


@needs_pip
def test_a_file_that_is_not_the_locked_one_is_refused(machine):
    machine.lock("0" * 64)
    status, _, err = machine.run("-l")
    assert status == errors.HashMismatchError.exit_code
    assert err.count("error: ") == 1
    assert "  do:  " in err
    assert not (machine.environments()[0] / "complete").exists()


@needs_pip
def test_a_tool_that_cannot_be_had_is_a_network_fault_and_heals(machine):
    wheel = next(machine.wheels.iterdir())
    away = wheel.rename(machine.repo / wheel.name)
    assert machine.run("-l")[0] == errors.NetworkError.exit_code
    away.rename(wheel)
    assert machine.run("-l")[0] == 0


@needs_pip
def test_killed_half_way_nothing_is_taken_for_whole(machine):
    child = machine.start("-l")
    wait_for(lambda: list(machine.store.glob("env/*/bin/python")))
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert not list(machine.store.glob("env/*/complete"))
    status, out, _ = machine.run("--exec", "-m", "tinytool")
    assert status == 0
    assert out.startswith("hello")


@needs_pip
def test_two_at_once_make_it_once(machine):
    children = [machine.start("--exec", "-m", "tinytool") for _ in range(3)]
    ends = [child.communicate(timeout=60) for child in children]
    assert [child.returncode for child in children] == [0, 0, 0]
    assert sum("✓" in err for _, err in ends) == 1
    assert len({out for out, _ in ends}) == 1


@needs_pip
def test_an_interpreter_that_went_away_is_replaced(machine):
    machine.run("-l")
    python = machine.environments()[0] / "bin/python"
    python.unlink()
    python.symlink_to("/nonexistent/python")
    assert machine.run("--exec", "-m", "tinytool")[0] == 0


def test_a_store_that_cannot_be_made_is_one_message(machine):
    machine.store.write_text("a file where the store should be")
    status, _, err = machine.run("-l")
    assert status == errors.BuildError.exit_code
    assert "SPARK_RUNTIME_STORE" in err


def export_of(machine: Machine, folder: Path) -> dict[str, str]:
    """The machine's wheels as an exported folder, and an environment in which no other place has them."""
    (folder / "python").mkdir(parents=True)
    for wheel in machine.wheels.iterdir():
        wheel.rename(folder / "python" / wheel.name)
    return {"SPARK_RUNTIME_EXPORTED": str(folder), "PIP_NO_INDEX": "0", "PIP_INDEX_URL": "http://127.0.0.1:9/simple"}


@needs_pip
def test_an_exported_folder_is_all_that_is_needed(machine, tmp_path):
    env = export_of(machine, tmp_path / "a stick")
    both = f"{tmp_path / 'nothing'}{os.pathsep}{env['SPARK_RUNTIME_EXPORTED']}"
    status, out, _ = machine.run("--exec", "-m", "tinytool", **env | {"SPARK_RUNTIME_EXPORTED": both})
    assert status == 0
    assert out.startswith("hello")


@needs_pip
def test_an_exported_folder_may_be_read_only(machine, tmp_path):
    env = export_of(machine, tmp_path / "stick")
    for path in (tmp_path / "stick/python", tmp_path / "stick"):
        path.chmod(0o555)
    assert machine.run("--exec", "-m", "tinytool", **env)[0] == 0
    for path in (tmp_path / "stick", tmp_path / "stick/python"):
        path.chmod(0o755)


@needs_pip
def test_a_folder_for_another_machine_says_what_to_export(machine, tmp_path):
    env = export_of(machine, tmp_path / "stick")
    wheel = next((tmp_path / "stick/python").iterdir())
    wheel.rename(wheel.with_name("tinytool-1.0-cp38-cp38-manylinux_2_17_riscv64.whl"))
    status, _, err = machine.run("-l", **env)
    assert status == errors.OfflineError.exit_code
    assert f"lacks a tool for Python 3.{sys.version_info[1]}" in err
    assert f"--python 3.{sys.version_info[1]}" in err


@needs_pip
def test_an_altered_wheel_of_a_folder_is_refused(machine, tmp_path):
    env = export_of(machine, tmp_path / "stick")
    wheel = next((tmp_path / "stick/python").iterdir())
    wheel.write_bytes(wheel.read_bytes() + b"x")
    status, _, err = machine.run("-l", **env)
    assert status == errors.HashMismatchError.exit_code
    assert "exported folder" in err


def test_a_pip_that_is_not_the_locked_one_never_runs(machine, tmp_path):
    env = export_of(machine, tmp_path / "stick")
    with zipfile.ZipFile(tmp_path / "stick/python/pip-99.0-py3-none-any.whl", "w") as archive:
        archive.writestr("pip/__main__.py", "print('an attack')")
    status, out, err = machine.run("-l", **env)
    assert status == errors.HashMismatchError.exit_code
    assert "is not the locked pip" in err
    assert "attack" not in out + err


def test_the_locked_pip_of_a_folder_does_the_installing(machine, tmp_path):
    env = export_of(machine, tmp_path / "stick")
    pip = tmp_path / "stick/python/pip-99.0-py3-none-any.whl"
    with zipfile.ZipFile(pip, "w") as archive:
        archive.writestr("pip/__main__.py", "import sys; sys.exit(' '.join(sys.argv))")
    with (machine.repo / "lock/python.txt").open("a") as stream:
        stream.write(f"pip==99.0 \\\n    --hash=sha256:{hashlib.sha256(pip.read_bytes()).hexdigest()}\n")
    status, _, err = machine.run("-l", **env)
    assert status == errors.CommandError.exit_code
    assert f"--no-index --find-links={tmp_path / 'stick/python'} -r" in err


def wait_for(condition) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)
