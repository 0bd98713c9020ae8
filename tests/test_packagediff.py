"""Packages, patches, layers and sizes of two images, told before their files: on real layouts, through `diff`."""

import json
import shutil

import pytest

from build import compared, packagediff, published
from build import settings as settings_module
from build.__main__ import main
from build.console import human_bytes
from build.errors import UsageError
from build.models import Settings
from build.packagediff import Changed, Series
from build.published import Place, PublishedLayer, Record, Signer
from build.settings import REPO
from tests.imagekit import SITE, entry, image, old_save, record, tar, written, zstd

BASE = tar(entry("usr/lib/os-release", b"trixie"))


def status(**packages):
    """dpkg's status: versions by name; one in a tuple has the state before it."""
    blocks = []
    for name, told in packages.items():
        state, version = told if isinstance(told, tuple) else ("install ok installed", told)
        blocks.append(f"Package: {name}\nStatus: {state}\nVersion: {version}\n")
    return entry("var/lib/dpkg/status", "\n".join(blocks).encode())


def manifest(*patches, series="s", identity="1" * 64, **more):
    rows = [{"component": "vllm", "file": name, "sha256": sha256} for name, sha256 in patches]
    said = {"series": series, "series_id": identity, "patches": rows, **more}
    return tar(entry("opt/spark/manifest.json", json.dumps(said).encode()))


class Run:
    def __init__(self, folder, capsys):
        self.folder, self.capsys = folder, capsys

    def __call__(self, a, b, *arguments):
        paths = [str(written(self.folder / name, made)) for name, made in (("a.tar", a), ("b.tar", b))]
        self.status = main(["diff", *paths, *arguments, "--max-diffoscope=0", "--output", str(self.folder / "out")])
        self.out, self.err = self.capsys.readouterr()
        return [line.strip("│├└─ ") for line in self.out.splitlines()]

    def json(self, a, b):
        self(a, b, "--json")
        return json.loads(self.out)


@pytest.fixture
def diff(tmp_path, capsys):
    return Run(tmp_path, capsys)


def rows(found):
    return [(row["name"], row["a"], row["b"]) for row in found]


def test_wheels_are_told_by_their_records_before_any_file(diff):
    was = tar(record("kept", "1"), record("Old_One", "1.0"), record("moved", "1.0"), entry("x", b"1"))
    now = tar(record("kept", "1"), record("new", "3.0"), record("moved", "2.0"), entry("x", b"2"))
    lines = diff(image(BASE, was), image(BASE, now))
    assert diff.status == 53
    start = lines.index("wheels: 1 added, 1 removed, 1 other version")
    assert lines[start + 1 : start + 4] == ["moved 1.0 → 2.0", "new 3.0: only in B", "old-one 1.0: only in A"]
    assert start < next(n for n, line in enumerate(lines) if line.startswith("layer 2 ("))
    assert rows(diff.json(image(BASE, was), image(BASE, now))["wheels"]) == [
        ("moved", "1.0", "2.0"), ("new", "", "3.0"), ("old-one", "1.0", ""),
    ]  # fmt: skip


def test_layers_of_both_are_not_read_for_it(diff):
    a, b = (image(BASE, tar(record("pkg", version))) for version in ("1", "2"))
    for made in (a, b):
        made.files[next(name for name, data in made.files.items() if data == zstd(BASE))] = b"unreadable"
    assert "wheels: 1 other version" in diff(a, b)


def test_a_version_that_an_upper_layer_replaced_is_the_lower_one_s_no_more(diff):
    """As `pip install -U` in a later step leaves it: the old one is removed by a whiteout, and A has it still."""
    below = tar(record("pkg", "1.0"), record("other", "5"))
    upgraded = tar(entry(f"{SITE}/.wh.pkg-1.0.dist-info"), record("pkg", "2.0"))
    assert rows(diff.json(image(below), image(below, upgraded))["wheels"]) == [("pkg", "1.0", "2.0")]
    gone = tar(entry(f"{SITE}/.wh.pkg-1.0.dist-info"))
    assert rows(diff.json(image(below), image(below, gone))["wheels"]) == [("pkg", "1.0", "")]
    assert rows(diff.json(image(below, gone), image(below, upgraded))["wheels"]) == [("pkg", "", "2.0")]
    other = tar(record("pkg", "1.5"))
    took = tar(entry(f"{SITE}/pkg-1.5.dist-info/.wh.RECORD"))
    assert rows(diff.json(image(below, other, took), image(below, upgraded))["wheels"]) == [("pkg", "1.0", "2.0")]


def test_debian_packages_are_told_by_dpkg_s_status(diff):
    was = tar(status(bash="5.2", gone="1", kept="1", config=("deinstall ok config-files", "1")))
    now = tar(status(bash="5.3", new="2", kept="1", config=("deinstall ok config-files", "2")))
    lines = diff(image(was), image(now))
    start = lines.index("Debian packages: 1 added, 1 removed, 1 other version")
    assert lines[start + 1 : start + 4] == ["bash 5.2 → 5.3", "gone 1: only in A", "new 2: only in B"]


def test_a_status_of_one_image_alone_is_compared_with_the_one_below_it(diff):
    """`apt-get install` in a later step writes the whole list anew; the other image has it in the common layer."""
    below = tar(status(bash="5.2"), entry("x"))
    listed = entry("var/lib/dpkg/info/vim.list", b"/var/lib/dpkg/status\n/var/lib/dpkg/info/vim.list\n")
    for more in ((), (listed,)):  # whose each path is, a common layer is read for; here also where that is known
        told = diff.json(image(below), image(below, tar(status(bash="5.2", vim="9"), *more)))
        assert rows(told["debs"]) == [("vim", "", "9")]
    assert told["notes"] == []


def test_a_status_that_would_cost_too_much_to_read_is_said_to_be_unknown(diff, monkeypatch):
    from build import comparing

    monkeypatch.setattr(comparing, "LISTS_LIMIT", 1)
    below = tar(status(bash="5.2"))
    a, b = image(below), image(below, tar(status(bash="5.2", vim="9")))
    assert "which Debian packages A has is told by a layer that was not read" in diff(a, b)
    assert diff.json(a, b)["debs"] == []


def test_an_image_without_dpkg_says_so_package_by_package(diff):
    was, now = (
        tar(entry("var/lib/dpkg/status.d/libc6", f"Package: libc6\nVersion: {version}\n".encode()))
        for version in ("1", "2")
    )
    assert rows(diff.json(image(was), image(now))["debs"]) == [("libc6", "1", "2")]


def test_patches_are_told_by_what_the_images_say(diff):
    was = manifest(("0001-a.patch", "a" * 64), ("0002-b.patch", "b" * 64), ("0003-c.patch", "c" * 64))
    now = manifest(
        ("0001-a.patch", "f" * 64), ("0002-c.patch", "c" * 64), ("0003-d.patch", "d" * 64), identity="2" * 64
    )
    lines = diff(image(BASE, was), image(BASE, now))
    start = lines.index(f"patches: 1 added, 1 removed, 1 changed, 1 renamed; series s ({'1' * 12}) → s ({'2' * 12})")
    assert lines[start + 1 : start + 5] == [
        f"vllm/0001-a.patch {'a' * 12} → {'f' * 12}",
        f"vllm/0002-b.patch {'b' * 12}: only in A",
        f"vllm/0003-d.patch {'d' * 12}: only in B",
        f"vllm/0003-c.patch → vllm/0002-c.patch {'c' * 12}, renamed",
    ]
    told = diff.json(image(BASE, was), image(BASE, now))["patches"]
    assert told["a"]["patches"][0] == {"patch": "vllm/0001-a.patch", "sha256": "a" * 64}
    assert rows(told["changes"])[0] == ("vllm/0001-a.patch", "a" * 64, "f" * 64)


def test_the_same_patches_are_told_where_only_their_order_or_series_differs(diff):
    one, two = ("0001-a.patch", "a"), ("0002-b.patch", "b")
    lines = diff(image(manifest(one, two)), image(manifest(two, one, identity="2" * 64)))
    assert f"patches: the same, in another order; series s ({'1' * 12}) → s ({'2' * 12})" in lines
    lines = diff(image(manifest(one)), image(manifest(one, series="t")))
    assert f"patches: the same; series s ({'1' * 12}) → t ({'1' * 12})" in lines
    lines = diff(image(manifest(one)), image(manifest(one, chain_id="2")))
    assert not any(line.startswith("patches") for line in lines), "the same series: no news"


@pytest.mark.parametrize("data", [b"", b"no JSON", b"[]", b"3", b'{"patches": {}}', b"[" * 100_000, b"\xff"])
def test_what_an_image_says_of_its_patches_is_not_trusted(data):
    assert packagediff.series(data) is None


def test_an_image_that_says_nothing_of_patches_is_told_of(diff):
    lines = diff(image(manifest(("0001-a.patch", "a"))), image(tar(entry("opt/spark/manifest.json", b"no JSON"))))
    assert "B does not say which patches it has" in lines


def test_layers_and_sizes_are_told(diff):
    was, now = tar(entry("a", b"1")), tar(entry("a", b"2"))
    a, b = (
        image(BASE, was, names=["base", "ours"]),
        image(BASE, now, BASE[:1024] + bytes(9728), names=["base", "ours", "e"]),
    )
    lines = diff(a, b)
    assert "layers: 1 of B's 3 are A's too; other content: 2 (ours); new: 3 (e)" in lines
    assert "layers: 1 of B's 2 are A's too; other content: 2 (ours); gone: 3 (e)" in diff(b, a)
    told = diff.json(a, b)["sizes"]
    assert [(part["name"], part["new"]) for part in told["parts"]] == [("base", False), ("ours", True), ("e", True)]
    assert told["b"] - told["new"] == len(zstd(BASE)), "what both have; manifest and config are new"
    assert told["a"] > len(zstd(BASE)) + len(zstd(was))
    (line,) = [line for line in lines if line.startswith("sizes")]
    assert line.endswith(f"pulling B costs {human_bytes(told['new'])} who has A")


def test_what_is_not_pulled_has_no_price(diff):
    told = diff.json(old_save(BASE), image(tar(entry("a"))))
    assert told["sizes"] is None
    assert not any(line.startswith("sizes") for line in diff(old_save(BASE), image(tar(entry("a")))))


def test_many_are_cut_short_and_all_are_in_the_folder(diff):
    was, now = (tar(*(record(f"p{n:02}", version) for n in range(20))) for version in ("1", "2"))
    lines = diff(image(was), image(now))
    assert "and 8 more (--all)" in lines
    assert "p19 1 → 2" not in lines
    assert "p19 1 → 2" in diff(image(was), image(now), "--all")
    (report,) = (diff.folder / "out").glob("*/report.txt")
    assert "p19 1 → 2" in report.read_text()


def test_names_that_would_command_a_terminal_are_shown_harmless(diff):
    hostile = tar(entry(f"{SITE}/x-1\x1b[2J.dist-info/RECORD"))
    assert "x 1\\x1b[2J: only in B" in diff(image(tar(entry("a"))), image(hostile))
    assert "\x1b" not in diff.out


def test_the_same_image_has_nothing_to_tell(diff):
    made = image(BASE, manifest(("0001-a.patch", "a")))
    told = diff.json(made, made)
    assert (told["same"], told["wheels"], told["patches"]["changes"], told["sizes"]) == (True, [], [], None)
    assert not any(line.startswith(("patches", "layers")) for line in diff(made, made))


def test_contents_are_what_is_on_top():
    assert packagediff._changed({"x": ("1", "1"), "y": ("", "2")}) == (Changed(name="y", a="", b="2"),)
    assert packagediff.series(b'{"series": "s", "series_id": "1", "patches": []}') == Series(
        name="s", id="1", patches=()
    )


DIGESTS = [f"sha256:{'ab' * 6}{end * 52}" for end in "12"]


@pytest.fixture
def repo(tmp_path, monkeypatch):
    """A clone with two records whose digests begin alike."""
    made = tmp_path / "repo"
    shutil.copytree(REPO / "lock", made / "lock", ignore=shutil.ignore_patterns("published"))
    monkeypatch.setattr(settings_module, "REPO", made)
    for number, manifest_digest in enumerate(DIGESTS):
        place = Place(
            repository="ghcr.io/owner/name", time="2026-11-26T10:00:00+00:00", tag="t", commit="0" * 40, remarks=(),
            signer=Signer(), documents=(),
        )  # fmt: skip
        layers = tuple(
            PublishedLayer(diff_id=name, digest=name, size=size)
            for name, size in (("sha256:base", 100), (f"sha256:{number}", 7))
        )
        published.write(made, Record(
            target="tiny", chain_id="1" * 64, manifest=manifest_digest, config="sha256:c", canonical_config="", rootfs="",
            engine="", buildkit="", places=(place,), reports=(), layers=layers,
        ))  # fmt: skip
    return made


def test_a_published_digest_is_a_word_by_its_beginning_too(repo, tmp_path):
    settings = Settings(repo=repo, store=tmp_path / "store")
    for number in (0, 1):
        word = DIGESTS[number]
        for short in (word, word[7:], word[:21], word[7:21]):
            assert compared.record_of(settings, short).manifest == word
    for word in ("tiny", "ab", "ababab", "f" * 12, f"sha256:{'f' * 64}", "a" * 12 + "/x"):
        assert compared.record_of(settings, word) is None
    with pytest.raises(UsageError, match="stands for 2 published images"):
        compared.record_of(settings, "ab" * 6)


def test_what_pulling_costs_between_published_digests_is_recorded(repo, capsys):
    assert main(["diff", DIGESTS[0], DIGESTS[1][7:21], "--bytes", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["new"], told["total"]) == (7, 107)
