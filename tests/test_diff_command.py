"""The whole story, on real layouts: what is said, what is written, and how it ends."""

import json

import pytest

from build import diffoscope, host
from build.__main__ import main
from build.diffoscope import Told
from build.settings import REPO
from tests.imagekit import SITE, entry, folder, gz, image, link, old_save, record, tar, written, zstd

ROOTFS = tar(
    entry("usr/bin/bash", b"#!", mode=0o755),
    entry("var/lib/dpkg/info/bash.list", b"/usr\n/usr/bin/bash\n"),
    entry("var/lib/dpkg/status", b"Package: bash\nVersion: 5.2\n"),
)
PACKAGE = tar(
    entry(f"{SITE}/pkg/a.py", b"a = 1\n"),
    entry(f"{SITE}/pkg/b.py", b"b\n"),
    record("pkg", "1.0", "pkg/a.py", "pkg/b.py"),
)
NAMES = ["ADD rootfs.tar / # buildkit", "RUN python3 /mnt/lane/install.py /mnt/wheels # buildkit"]


def package(*changed):
    """PACKAGE with other entries in place of those of the same path."""
    base = {
        f"{SITE}/pkg/a.py": entry(f"{SITE}/pkg/a.py", b"a = 1\n"),
        f"{SITE}/pkg/b.py": entry(f"{SITE}/pkg/b.py", b"b\n"),
        "record": record("pkg", "1.0", "pkg/a.py", "pkg/b.py"),
    }
    return tar(*{**base, **{info.name: (info, data) for info, data in changed}}.values())


class Run:
    def __init__(self, folder, capsys):
        self.folder, self.capsys = folder, capsys

    def __call__(self, a, b, *arguments):
        paths = [str(written(self.folder / name, made)) for name, made in (("a.tar", a), ("b", b))]
        return self.on(*paths, *arguments)

    def on(self, *arguments, diffoscope=0):
        output = self.folder / "out"
        self.status = main(["diff", *arguments, f"--max-diffoscope={diffoscope}", "--output", str(output)])
        self.out, self.err = self.capsys.readouterr()
        return self.out

    @property
    def report(self):
        (path,) = (self.folder / "out").glob("*/report.json")
        return json.loads(path.read_text())

    @property
    def text(self):
        (path,) = (self.folder / "out").glob("*/report.txt")
        return path.read_text()


@pytest.fixture
def diff(tmp_path, capsys):
    return Run(tmp_path, capsys)


def two(*layers, **more):
    return image(*layers, names=NAMES[: len(layers)], **more)


def test_the_same_manifest_is_the_same_image_to_the_byte(diff):
    out = diff(two(ROOTFS, PACKAGE), two(ROOTFS, PACKAGE))
    assert diff.status == 0
    assert "the same image, to the byte" in out
    assert not (diff.folder / "out").exists()


def test_other_compression_is_the_same_image_and_its_bytes_are_told(diff):
    a, b = two(ROOTFS, PACKAGE), two(ROOTFS, PACKAGE, packed=gz)
    out = diff(a, b)
    assert diff.status == 0
    assert "the same image: the same content of every layer and the same config, written otherwise" in out
    assert f"layer 1 (rootfs): {len(zstd(ROOTFS))} bytes (zstd) → {len(gz(ROOTFS))} bytes (gzip)" in out
    assert "→ read" not in diff.err


def test_layers_of_one_content_are_not_read(diff):
    a, b = two(ROOTFS, PACKAGE), two(ROOTFS, package(entry(f"{SITE}/pkg/a.py", b"a = 2\n")))
    for made in (a, b):
        damaged = next(name for name, data in made.files.items() if data == zstd(ROOTFS))
        made.files[damaged] = b"unreadable"
    assert "1 of 2 layers differs" in diff(a, b)
    assert diff.status == 53


def test_a_file_is_told_by_layer_package_and_fact(diff):
    out = diff(two(ROOTFS, PACKAGE), two(ROOTFS, package(entry(f"{SITE}/pkg/a.py", b"a = 2\n"))))
    assert diff.status == 53
    lines = [line.strip("│├└─ ") for line in out.splitlines()]
    assert "1 of 2 layers differs: 1 package, 1 file: content" in lines
    assert "layer 2 (wheels): 1 package, 1 file: content" in lines
    assert "pkg 1.0: 1 file: content" in lines
    assert "written otherwise" not in out, "that the diff ids in the config differ is no news"
    assert any(line.startswith(f"{SITE}/pkg/a.py: content 6 bytes, sha256 ") for line in lines)
    assert "error: " in diff.err
    (changed,) = diff.report["layers"]
    assert changed["a"]["number"] == 2
    (pkg,) = changed["packages"]
    assert (pkg["name"], pkg["versions"]) == ("pkg", ["1.0", "1.0"])
    assert pkg["files"][0]["b"]["sha256"] != pkg["files"][0]["a"]["sha256"]


def test_json_is_the_whole_report_on_standard_output(diff):
    out = diff(two(PACKAGE), two(package(entry(f"{SITE}/pkg/a.py", b"a = 2\n", mode=0o755))), "--json")
    assert diff.status == 53
    told = json.loads(out)
    assert told == diff.report
    assert (told["verdict"], told["same"]) == ("different", False)
    names = [fact["name"] for fact in told["layers"][0]["packages"][0]["files"][0]["facts"]]
    assert names == ["mode", "content"]


def test_a_debian_package_is_named_by_an_equal_layer(diff):
    """A path that no list of the layers that differ knows: small equal layers are asked."""
    changed = [tar(entry("usr/bin/bash", data, mode=0o755)) for data in (b"1", b"2")]
    out = diff(image(ROOTFS, changed[0]), image(ROOTFS, changed[1]))
    assert "bash 5.2: 1 file: content" in out


def test_another_version_of_a_package_says_both(diff):
    new = tar(entry(f"{SITE}/pkg/a.py", b"a = 1\n"), record("pkg", "2.0", "pkg/a.py"))
    out = diff(two(ROOTFS, PACKAGE), two(ROOTFS, new))
    assert "pkg 1.0 → 2.0: 3 files: only in A 2, only in B 1" in out


def test_added_and_removed_layers_are_told_with_what_they_hold(diff):
    a, b = (
        image(ROOTFS, PACKAGE, names=["r", "p"]),
        image(ROOTFS, PACKAGE, tar(entry("etc/.wh.x"), link("l", "t")), names=["r", "p", "new"]),
    )
    out = diff(a, b)
    assert "layer 3 (new), only in B: 1 package, 2 files: only in B" in out
    assert "etc/x: only in B (removal)" in out
    assert "l: only in B (symbolic link)" in out
    diff.on(str(diff.folder / "b"), str(diff.folder / "a.tar"))
    assert "layer 3 (new), only in A: 1 package, 2 files: only in A" in diff.out


def test_order_and_dialect_are_told_where_no_fact_differs(diff):
    turned = tar(entry("b"), entry("a"))
    out = diff(image(tar(entry("a"), entry("b"))), image(turned))
    assert diff.status == 53
    assert "layer 1 (COPY 0 /): the entries come in another order: first a in A where B has b" in out


def test_config_alone_makes_a_difference(diff):
    out = diff(image(ROOTFS), image(ROOTFS, config={"config": {"Env": ["A=2"]}}))
    assert diff.status == 53
    assert "config: config.Env" in out
    assert '["A=1"] → ["A=2"]' in out


def test_the_outline_is_bounded_and_all_is_in_the_folder(diff):
    names = [f"etc/{n:02}" for n in range(12)]
    one, other = (tar(*(entry(name, data) for name in names)) for data in (b"1", b"2"))
    out = diff(image(one), image(other))
    assert "and 7 files more (--all)" in out
    assert "etc/11" not in out
    assert "etc/11: content" in diff.text
    assert "etc/11: content" in diff.on(str(diff.folder / "a.tar"), str(diff.folder / "b"), "--all")


def test_names_that_would_command_a_terminal_are_shown_harmless(diff):
    out = diff(image(tar(entry("a\x1b[2J\nb"))), image(tar(entry("c"))))
    assert "\x1b" not in out + diff.text
    assert "a\\x1b[2J\\nb: only in A" in out


def test_an_old_docker_save_and_a_layout_are_compared(diff):
    out = diff(old_save(ROOTFS), image(ROOTFS, config={"config": None, "architecture": None}))
    assert diff.status == 53
    assert "config: architecture, config" in out


def test_two_root_file_systems_are_compared(diff):
    for name, mode in (("x.tar", 0o755), ("y.tar", 0o700)):
        (diff.folder / name).write_bytes(tar(folder("etc"), entry("etc/a", mode=mode)))
    out = diff.on(str(diff.folder / "x.tar"), str(diff.folder / "y.tar"))
    assert diff.status == 53
    assert "etc/a: mode 0755 → 0700" in out


def test_a_damaged_layer_is_an_error_and_no_difference(diff):
    b = two(ROOTFS, package(entry(f"{SITE}/pkg/a.py", b"a = 2\n")))
    name = next(name for name, data in b.files.items() if data[:4] == b"\x28\xb5\x2f\xfd" and data != zstd(ROOTFS))
    b.files[name] = b.files[name][:-1] + bytes([b.files[name][-1] ^ 1])
    diff(two(ROOTFS, PACKAGE), b)
    assert diff.status == 20
    assert "layer 2 (wheels) of B is damaged" in diff.err
    assert not (diff.folder / "out").exists()


def test_a_missing_layer_is_an_error(diff):
    b = two(package(entry(f"{SITE}/pkg/a.py", b"a = 2\n")))
    del b.files[next(name for name, data in b.files.items() if data[:4] == b"\x28\xb5\x2f\xfd")]
    diff(two(PACKAGE), b)
    assert (diff.status, "is not whole" in diff.err) == (20, True)


@pytest.mark.parametrize(("word", "why"), [("./none.tar", "no such file"), (str(REPO / "README.md"), "no tar")])
def test_what_is_no_image_is_named(diff, word, why):
    path = image(ROOTFS).folder(diff.folder / "a")
    diff.on(str(path), word)
    assert (diff.status, why in diff.err) == (61, True)


def test_without_diffoscope_the_rest_is_told(diff):
    """An empty store and no network: diffoscope cannot be had, and that is said."""
    diff(two(PACKAGE), two(package(entry(f"{SITE}/pkg/a.py", b"a = 2\n"))))
    out = diff.on(str(diff.folder / "a.tar"), str(diff.folder / "b"), "--offline", diffoscope=3)
    assert diff.status == 53
    assert "pkg/a.py: content" in out
    assert "warning: without diffoscope's report: " in diff.err


def test_diffoscope_s_report_is_bounded_on_the_terminal_and_whole_in_its_file(diff, monkeypatch):
    lines = ["--- A", "+++ B", "+" + "y" * 5000, *(f"line {n}\x1b" for n in range(40))]
    monkeypatch.setattr(diffoscope, "explain", lambda *_, **more: Told(text="\n".join(lines)))
    monkeypatch.setattr(host, "diffoscope", lambda settings: diff.folder)
    b = two(package(entry(f"{SITE}/pkg/a.py", b"a = 2\n")))
    paths = [str(written(diff.folder / name, made)) for name, made in (("a", two(PACKAGE)), ("b", b))]
    out = diff.on(*paths, diffoscope=1)
    assert diff.status == 53
    assert 150 < out.count("y") < 300
    assert "line 11" in out
    assert "line 12" not in out
    (file,) = (diff.folder / "out").glob("*/diffoscope-01-*_pkg_a.py.txt")
    assert file.name[:20] in out
    assert file.read_text().splitlines() == [line.replace("\x1b", "\\x1b") for line in lines]
    assert diff.report["layers"][0]["packages"][0]["files"][0]["diffoscope"] == {"report": str(file), "note": ""}


def test_a_count_of_less_than_nothing_is_refused(diff):
    diff.on("tiny", "tiny", diffoscope=-1)
    assert diff.status == 2


def test_bytes_are_those_of_layers_that_a_lacks(diff):
    other = package(entry(f"{SITE}/pkg/a.py", b"a = 2\n"))
    b = two(ROOTFS, other)
    out = diff(two(ROOTFS, PACKAGE), b, "--bytes", "--json")
    assert diff.status == 0
    told = json.loads(out)
    assert [(part["name"], part["size"], part["new"]) for part in told["parts"]] == [
        ("rootfs", len(zstd(ROOTFS)), False), ("wheels", len(zstd(other)), True),
    ]  # fmt: skip
    (row,) = json.loads(b.files["index.json"])["manifests"]
    assert told["new"] > len(zstd(other)) + row["size"]
    assert told["total"] == told["new"] + len(zstd(ROOTFS))
    assert "kB" in diff.on(str(diff.folder / "a.tar"), str(diff.folder / "b"), "--bytes")


def test_bytes_of_the_same_image_are_none(diff):
    assert json.loads(diff(two(ROOTFS), two(ROOTFS), "--bytes", "--json"))["new"] == 0


def test_bytes_between_targets_need_no_engine(diff):
    diff.on("v0.22", "v0.32", "--bytes", "--json")
    told = json.loads(diff.out)
    assert told["total"] > told["new"] > 1_000_000_000
    assert [part["name"] for part in told["parts"]][:2] in (["rootfs", "cuda"], ["", ""])
