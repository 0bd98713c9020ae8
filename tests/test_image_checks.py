"""The image's own checks, on planted faults: each test lays out a small installed world and breaks one thing."""

# ruff: noqa: E402 - the checks are no part of our package

import base64
import hashlib
import io
import json
import py_compile
import struct
import subprocess
import sys
from pathlib import Path

import pytest

CHECKS_HOME = Path(__file__).parents[1] / "dockerfiles" / "image"
sys.path.insert(0, str(CHECKS_HOME))

from checks import bytecode, elf, events, installed, left_out, libraries, plan, records
from checks.__main__ import Run
from checks.events import Context, Failed, Outcome, Skipped


def digest(data):
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A venv with one distribution of two files, whose RECORD is true."""
    venv = tmp_path / "venv"
    site = venv / "lib" / "python3.13" / "site-packages"
    (site / "one-1.0.dist-info").mkdir(parents=True)
    (site / "one").mkdir()
    (venv / "pyvenv.cfg").write_text("home = /usr/bin\n")
    (site / "one" / "a.py").write_bytes(b"a = 1\n")
    (site / "one" / "b.so").write_bytes(b"\x7fELF...")
    (site / "one-1.0.dist-info" / "METADATA").write_bytes(b"Metadata-Version: 2.1\nName: one\nVersion: 1.0\n")
    monkeypatch.setattr(records.sysconfig, "get_path", lambda name: str(site))
    monkeypatch.setattr(sys, "prefix", str(venv))
    write_record(site)
    return site


def write_record(site, name="one-1.0.dist-info", prefix="one"):
    rows = []
    for path in sorted(site.rglob("*")):
        inside = path.relative_to(site).as_posix()
        if path.is_file() and inside.startswith(prefix) and path.name != "RECORD":
            rows.append(f"{inside},{digest(path.read_bytes())},{path.stat().st_size}")
    (site / name / "RECORD").write_text("\n".join([*rows, f"{name}/RECORD,,", ""]))


def context(tmp_path, **manifest):
    return Context(manifest=manifest, scratch=tmp_path)


def faults_of(check, *arguments):
    with pytest.raises(Failed) as caught:
        check(*arguments)
    return caught.value.evidence["faults"]["first"]


# RECORD


def test_a_true_record_passes(world, tmp_path):
    outcome = records.check_record(context(tmp_path))
    evidence = outcome.evidence
    assert outcome.findings == []
    assert (evidence["distributions"], evidence["files"]) == (1, 4)
    assert evidence["bytes hashed"] > 0


@pytest.mark.parametrize(
    ("breakage", "fault"),
    [
        (lambda site: (site / "one" / "a.py").write_bytes(b"a = 2\n"), "a.py (one-1.0.dist-info) is not as in"),
        (lambda site: (site / "one" / "b.so").unlink(), "b.so (one-1.0.dist-info) is not there"),
        (lambda site: (site / "stray.py").write_bytes(b""), "stray.py belongs to no distribution"),
        (lambda site: (site / "one" / "__pycache__").mkdir() or (site / "one/__pycache__/z.cpython-313.pyc").touch(),
         "z.cpython-313.pyc belongs to no distribution"),
        (lambda site: (site.parents[2] / "bin").mkdir() or (site.parents[2] / "bin" / "tool").touch(), "bin/tool belongs"),
    ],
)  # fmt: skip
def test_a_planted_fault_is_found(world, tmp_path, breakage, fault):
    breakage(world)
    (found,) = records.check_record(context(tmp_path)).findings
    assert fault in found


def test_an_entry_without_a_hash_is_a_fault(world, tmp_path):
    record = world / "one-1.0.dist-info" / "RECORD"
    record.write_text(record.read_text().replace(digest(b"a = 1\n"), ""))
    (found,) = records.check_record(context(tmp_path)).findings
    assert "has no hash" in found


def test_two_distributions_with_one_file_must_agree(world, tmp_path):
    other = world / "two-1.0.dist-info"
    other.mkdir()
    (other / "RECORD").write_text(f"one/a.py,{digest(b'other')},5\ntwo-1.0.dist-info/RECORD,,\n")
    (found,) = records.check_record(context(tmp_path)).findings
    assert "one-1.0.dist-info, two-1.0.dist-info" in found


def test_bytecode_of_an_owned_source_and_declared_files_are_fine(world, tmp_path):
    (world / "one" / "__pycache__").mkdir()
    (world / "one" / "__pycache__" / "a.cpython-313.pyc").touch()
    (world / "nvidia").mkdir()
    (world / "nvidia" / "libcuda.so").touch()
    assert records.check_record(context(tmp_path, own=["nvidia/libcuda.so"])).findings == []


def test_a_distribution_without_record_fails(world, tmp_path):
    (world / "one-1.0.dist-info" / "RECORD").unlink()
    with pytest.raises(Failed, match="has no RECORD"):
        records.check_record(context(tmp_path))


# Versions and patches


def test_versions(world, tmp_path):
    installed.check_versions(context(tmp_path, wheels=[{"name": "One", "version": "1.0"}]))


@pytest.mark.parametrize(
    ("wheels", "fault"),
    [
        ([], "one 1.0 is not in the manifest"),
        ([{"name": "one", "version": "1.0+spark"}], "one is 1.0, the manifest says 1.0+spark"),
        ([{"name": "one", "version": "1.0"}, {"name": "gone", "version": "2"}], "gone 2 is missing"),
    ],
)
def test_versions_that_differ(world, tmp_path, wheels, fault):
    assert fault in faults_of(installed.check_versions, context(tmp_path, wheels=wheels))


@pytest.fixture
def released(tmp_path, monkeypatch):
    """The dist-info of the wheel as it was published: what the RECORD of its one file says."""
    folder = tmp_path / "released" / "one"
    folder.mkdir(parents=True)
    (folder / "RECORD").write_text(f"one/a.py,{digest(b'a = 1' + bytes([10]))},6\none/RECORD,,\n")
    monkeypatch.setattr(installed, "RELEASED", tmp_path / "released")
    return folder / "RECORD"


def patched_entry(before, after):
    return {
        "distribution": "one",
        "installed": "one/a.py",
        "before": hashlib.sha256(before).hexdigest(),
        "after": hashlib.sha256(after).hexdigest(),
    }


def label(world, version):
    (world / "one-1.0.dist-info").rename(world / f"one-{version}.dist-info")
    write_record(world, f"one-{version}.dist-info")


def test_a_patched_file_of_a_labelled_distribution(world, tmp_path, released):
    (world / "one" / "a.py").write_bytes(b"a = 3\n")
    label(world, "1.0+spark")
    evidence = installed.check_patches(context(tmp_path, patched=[patched_entry(b"a = 1\n", b"a = 3\n")])).evidence
    assert list(evidence["files"]) == ["one/a.py"]


@pytest.mark.parametrize(
    ("text", "version", "fault"),
    [
        (b"a = 1\n", "1.0+spark", "one/a.py is as released"),
        (b"a = 9\n", "1.0+spark", "one/a.py is neither as released nor as patched"),
        (b"a = 3\n", "1.0", "one-1.0.dist-info is patched but its version is 1.0"),
    ],
)
def test_a_patch_that_is_not_there(world, tmp_path, released, text, version, fault):
    (world / "one" / "a.py").write_bytes(text)
    if version != "1.0":
        label(world, version)
    assert fault in faults_of(
        installed.check_patches, context(tmp_path, patched=[patched_entry(b"a = 1\n", b"a = 3\n")])
    )


def test_a_patch_over_another_file_than_it_was_made_for(world, tmp_path, released):
    """What is below the patched files was released with other bytes: the series was locked with another wheel."""
    (world / "one" / "a.py").write_bytes(b"a = 3\n")
    label(world, "1.0+spark")
    entry = patched_entry(b"a = 0\n", b"a = 3\n")
    (fault,) = faults_of(installed.check_patches, context(tmp_path, patched=[entry]))
    assert f"was released as {hashlib.sha256(b'a = 1' + bytes([10])).hexdigest()}, not as {entry['before']}" in fault
    released.write_text("one/RECORD,,\n")
    (fault,) = faults_of(installed.check_patches, context(tmp_path, patched=[entry]))
    assert "was released as nothing" in fault
    created = {**entry, "before": ""}
    installed.check_patches(context(tmp_path, patched=[created]))


def test_no_patched_file_is_a_skip(world, tmp_path):
    with pytest.raises(Skipped):
        installed.check_patches(context(tmp_path))


def test_metadata_without_uv_is_a_skip(tmp_path):
    with pytest.raises(Skipped, match="no uv"):
        installed.check_metadata(context(tmp_path))


# ELF files


def header(machine):
    return b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00" + machine.to_bytes(2, "little")


def test_elf_files_of_another_machine(tmp_path):
    (tmp_path / "arm").write_bytes(header(183))
    (tmp_path / "kernel.cubin").write_bytes(header(190))
    (tmp_path / "text").write_bytes(b"\x7fEL")
    evidence = elf.check_elf(context(tmp_path), str(tmp_path)).evidence
    assert evidence["elf"] == {"AArch64": 1, "CUDA": 1}
    (tmp_path / "x").write_bytes(header(62))
    with pytest.raises(Failed, match=r"/x \(x86-64\)"):
        elf.check_elf(context(tmp_path), str(tmp_path))


def test_an_image_without_any_elf_file_fails(tmp_path):
    with pytest.raises(Failed, match="no AArch64"):
        elf.check_elf(context(tmp_path), str(tmp_path))


def needing(*names):
    """An AArch64 library that asks its loader for others: a header, PT_LOAD and PT_DYNAMIC, strings, the section."""
    strings = b"\0" + b"".join(name.encode() + b"\0" for name in names)
    at, base = 64 + 2 * 56, 0x10000
    entries, place = [], 1
    for name in names:
        entries.append((1, place))
        place += len(name) + 1
    entries += [(5, base + at), (10, len(strings)), (0, 0)]
    dynamic = b"".join(struct.pack("<QQ", *entry) for entry in entries)
    size = at + len(strings) + len(dynamic)
    start = at + len(strings)
    head = header(183).ljust(32, b"\0") + struct.pack("<QQIHHHHHH", 64, 0, 0, 64, 56, 2, 0, 0, 0)
    load = struct.pack("<II6Q", 1, 4, 0, base, base, size, size, 4096)
    return head + load + struct.pack("<II6Q", 2, 4, start, base + start, 0, len(dynamic), 0, 8) + strings + dynamic


def test_what_a_library_needs_is_read_from_its_program_headers(tmp_path):
    for content, names in [(needing("liba.so.1", "libb.so"), ["liba.so.1", "libb.so"]), (needing(), []), (b"text", [])]:
        (tmp_path / "x.so").write_bytes(content)
        assert elf.needed(str(tmp_path / "x.so")) == names


# What is left out

LEFT = [
    {"paths": ["one/k*.so", "one/old/**"], "reason": "for others", "foreign": True},
    {"paths": ["lib/libgone.so.1"], "reason": "unused", "foreign": False},
]
GONE = {
    "one/k9.so": {"bytes": 7, "code": ["sm_90a", "sm_100f", "compute_90a"]},
    "one/old/a/b.cubin": {"bytes": 5, "code": ["sm_100"]},
    "lib/libgone.so.1": {"bytes": 3},
}


@pytest.fixture
def lists(tmp_path, monkeypatch):
    """What the build's steps say that they left out; call it to say something else."""
    folder = tmp_path / "lists"
    folder.mkdir()
    monkeypatch.setattr(left_out, "LISTS", folder)

    def say(**changed):
        said = {**GONE, **changed}
        (folder / "a.json").write_text(json.dumps({k: v for k, v in said.items() if k < "o"}))
        (folder / "b.json").write_text(json.dumps({k: v for k, v in said.items() if k >= "o"}))

    say()
    return say


def test_what_is_left_out_is_gone_and_told(world, tmp_path, lists):
    (world / "one" / "user.so").write_bytes(needing("libc.so.6", "libother.so"))
    outcome = left_out.check_left_out(context(tmp_path, left_out=LEFT))
    assert outcome.findings == []
    assert (outcome.evidence["files"], outcome.evidence["bytes"]) == (3, 15)
    assert [table["files"] for table in outcome.evidence["tables"]] == [2, 1]
    assert outcome.evidence["tables"][0]["code"] == ["compute_90a", "sm_100", "sm_100f", "sm_90a"]


def test_what_is_left_out_and_there_is_a_finding(world, tmp_path, lists):
    (world / "one" / "k7.so").touch()
    (world / "one" / "old").mkdir()
    findings = left_out.check_left_out(context(tmp_path, left_out=LEFT)).findings
    assert findings == ["one/k7.so is there, though left out", "one/old is there, though left out"]


def test_what_needs_a_library_that_is_left_out_is_a_finding(world, tmp_path, lists):
    (world / "one" / "user.so").write_bytes(needing("libc.so.6", "libgone.so.1"))
    findings = left_out.check_left_out(context(tmp_path, left_out=LEFT)).findings
    (found,) = findings
    assert found.endswith("one/user.so needs libgone.so.1, which is left out")
    (world / "libgone.so.1").touch()  # another one of its name
    assert left_out.check_left_out(context(tmp_path, left_out=LEFT)).findings == []


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        (["sm_90a", "sm_120"], "its sm_120 is of use"),
        (["compute_80"], "its compute_80 is of use"),
        ([], "and holds none"),
    ],
)
def test_foreign_code_that_a_gb10_could_use_is_a_finding(world, tmp_path, lists, code, fault):
    lists(**{"one/k9.so": {"bytes": 7, "code": code}})
    (found,) = left_out.check_left_out(context(tmp_path, left_out=LEFT)).findings
    assert found.startswith("one/k9.so was left out as device code")
    assert found.endswith(fault)


def test_a_table_that_no_step_followed_is_a_finding(world, tmp_path, lists):
    more = [*LEFT, {"paths": ["never/x"], "reason": "x"}]
    (found,) = left_out.check_left_out(context(tmp_path, left_out=more)).findings
    assert found == "never/x: no step says that it left such a file out"


def test_nothing_left_out_is_a_skip(tmp_path):
    with pytest.raises(Skipped, match="leaves nothing out"):
        left_out.check_left_out(context(tmp_path))


# Bytecode


def compile_to(source, cfile=None, mode=py_compile.PycInvalidationMode.CHECKED_HASH):
    py_compile.compile(str(source), cfile=cfile, optimize=0, invalidation_mode=mode)


def test_bytecode_of_the_sources_beside_it_passes(world, tmp_path):
    compile_to(world / "one" / "a.py")
    outcome = bytecode.check_bytecode(context(tmp_path, bytecode=["one/**"]))
    assert outcome.findings == []
    assert (outcome.evidence["files"], outcome.evidence["compiled again"]) == (1, 1)


def other_source(site):
    compile_to(site / "one" / "a.py")
    (site / "one" / "a.py").write_bytes(b"a = 2\n")


def other_code(site):
    compile_to(site / "one" / "a.py")
    path = next((site / "one" / "__pycache__").iterdir())
    path.write_bytes(path.read_bytes().replace(b"\x01", b"\x02"))


def other_python(site):
    compile_to(site / "one" / "a.py")
    path = next((site / "one" / "__pycache__").iterdir())
    path.rename(path.with_name("a.cpython-27.pyc"))


@pytest.mark.parametrize(
    ("breakage", "fault"),
    [
        (other_source, "is of another source"),
        (other_code, "is not what this Python makes"),
        (other_python, "is for another Python"),
        (lambda site: compile_to(site / "one" / "a.py", mode=py_compile.PycInvalidationMode.TIMESTAMP), "without a look"),
        (lambda site: compile_to(site / "one" / "a.py", mode=py_compile.PycInvalidationMode.UNCHECKED_HASH), "without a"),
        (lambda site: compile_to(site / "one" / "a.py", str(site / "one" / "b.pyc")), "b.pyc is bytecode without"),
        (lambda site: compile_to(site / "one" / "a.py", str(site / "__pycache__" / "z.cpython-313.pyc")), "has no source"),
        (lambda site: None, "there is no bytecode"),
    ],
)  # fmt: skip
def test_bytecode_that_is_not_its_sources_is_a_finding(world, tmp_path, breakage, fault):
    breakage(world)
    findings = bytecode.check_bytecode(context(tmp_path, bytecode=["one/**"])).findings
    assert any(fault in found for found in findings), findings


def test_bytecode_of_a_released_file_may_stay_under_a_patched_one(world, tmp_path):
    other_source(world)
    patched = [{"installed": "one/a.py"}]
    outcome = bytecode.check_bytecode(context(tmp_path, bytecode=["one/**"], patched=patched))
    assert outcome.findings == []
    assert len(outcome.evidence["of released files that are patched, not run"]) == 1
    compile_to(world / "one" / "a.py", mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)  # this would be run
    assert (
        "without a look" in bytecode.check_bytecode(context(tmp_path, bytecode=["one/**"], patched=patched)).findings[0]
    )


def test_bytecode_that_nobody_asked_for_is_a_finding(world, tmp_path):
    with pytest.raises(Skipped, match="nothing compiled"):
        bytecode.check_bytecode(context(tmp_path))
    compile_to(world / "one" / "a.py")
    (found,) = bytecode.check_bytecode(context(tmp_path)).findings
    assert "has nothing compiled, and there is bytecode" in found


# Libraries


def test_libraries_need_usable_code(world, tmp_path):
    sample = Path(__file__).parent / "data" / "two.fatbin"
    (world / "one" / "b.so").write_bytes(sample.read_bytes())
    needed = [{"path": "one/*.so", "reason": "the kernels"}]
    evidence = libraries.check_libraries(context(tmp_path, libraries=needed)).evidence
    assert evidence["needed"]["one/b.so"]["usable"] == {"native": 1, "first use": 0, "none": 0}


@pytest.mark.parametrize(("path", "fault"), [("one/b.so", "has no code for"), ("gone/*.so", "gone/*.so is not there")])
def test_libraries_without_it(world, tmp_path, path, fault):
    with pytest.raises(Failed, match=fault.replace("*", r"\*")):
        libraries.check_libraries(context(tmp_path, libraries=[{"path": path, "reason": "x"}]))


# Events, exceptions, groups


def ended(check):
    stream = io.StringIO()
    events.perform("name", check, context(Path()), stream)
    return [json.loads(line) for line in stream.getvalue().splitlines()][-1]


def broken(_):
    raise ZeroDivisionError("broken")


def test_a_check_that_breaks_is_a_failed_check():
    event = ended(broken)
    assert (event["status"], event["reason"]) == ("failed", "ZeroDivisionError: broken")
    assert "in broken" in event["evidence"]["traceback"]


def test_findings_fail_until_the_target_explains_them(capsys):
    event = ended(lambda _: Outcome({}, ["one wants two", "three wants four"]))
    assert event["status"] == "failed"
    run = Run("tiny", {"exceptions": [{"finding": "one wants", "reason": "known"}]}, None, Path())
    assert run.excuse(dict(event))["status"] == "failed"
    both = Run("tiny", {"exceptions": [{"finding": "wants", "reason": "known"}]}, None, Path())
    excused = both.excuse({**event, "excepted": []})
    assert (excused["status"], excused["reason"]) == ("passed", "")
    assert [item["reason"] for item in excused["excepted"]] == ["known", "known"]


def run_checks(tmp_path, chosen, manifest):
    """The real runner, in a process of its own, on this Python."""
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(manifest))
    command = [sys.executable, "-m", "checks", "--set", chosen, "--manifest", str(path)]
    done = subprocess.run(command, cwd=CHECKS_HOME, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_runner_tells_every_check_and_an_unused_exception(tmp_path):
    told = run_checks(tmp_path, "self-test", {"exceptions": [{"finding": "never said", "reason": "none"}]})
    by_name = {event["name"]: event for event in told if event["event"] == "end"}
    assert set(by_name) == {*told[0]["checks"]}
    assert by_name["works"]["status"] == "passed"
    assert by_name["prints"]["status"] == "passed"  # what a library prints is no event
    assert "ended with" in by_name["dies"]["reason"]
    assert by_name["after"]["status"] == "failed"  # its process was gone
    assert "never said" in by_name["exceptions"]["reason"]
    assert told[-1]["event"] == "done"


def test_every_check_of_every_set_exists():
    for chosen, names in plan.SETS.items():
        assert set(names) <= set(plan.CHECKS), chosen
    assert {group for group, _, _ in plan.CHECKS.values()} <= set(plan.GROUPS)
    for name, (_, module, attribute) in plan.CHECKS.items():
        source = (CHECKS_HOME / "checks" / f"{module}.py").read_text()
        assert f"def {attribute}(" in source, name
