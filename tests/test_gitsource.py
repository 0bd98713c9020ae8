"""build/gitsource.py: pinned sources from real remotes, with every trouble that remotes make."""

import os
import signal
import ssl
import subprocess
import sys
import tarfile
import threading
from dataclasses import replace

import pytest

from build import gitremote, gitsource, giturl, treehash, treetar
from build.errors import (
    CommandError,
    GoneCommitError,
    LockError,
    MovedTagError,
    NetworkError,
    OfflineError,
    ResolveError,
)
from build.models import Settings, Submodule
from tests import gitkit
from tests.gitkit import repository
from tests.test_sourcetree import archive

pytestmark = pytest.mark.programs("git")

NOWHERE = "git://127.0.0.1:1/nothing"
UNKNOWN = "1" * 40


@pytest.fixture
def settings(tmp_path):
    return Settings(repo=tmp_path / "repo", store=tmp_path / "store")


@pytest.fixture
def remote(tmp_path):
    """A repository with the tag v1 at its older commit."""
    made = repository(tmp_path / "srv/a", {"pkg/a.py": b"a = 1\n", "run.sh": b"#!/bin/sh\n"}).tag("v1")
    return made.commit({"pkg/a.py": b"a = 2\n"}, "newer")


def resolve(settings, url, *, mirrors=(), tag="v1", commit="", locked=None):
    return gitsource.resolve(
        settings, "a", url=url, mirrors=mirrors, tag=tag, commit=commit, version="1.0", locked=locked
    )


def clone(remote, folder):
    """A mirror: another repository with the same commits."""
    gitkit.git("clone", "--quiet", "--mirror", remote.url, folder, cwd=remote.folder)
    return gitkit.Remote(folder)


def leftovers(settings):
    return [path for name in ("trees", "scratch") for path in (settings.store / name).glob("*")]


def content(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


# --- looking up ----------------------------------------------------------------------------------------------------


@pytest.fixture(params=["file", "git", "http"])
def served(request, tmp_path, remote):
    """The URL of the folder of repositories, over each transport."""
    root = tmp_path / "srv"
    if request.param == "file":
        yield root.as_uri()
    elif request.param == "git":
        with gitkit.daemon(root) as url:
            yield url
    else:
        with gitkit.http(root) as server:
            yield server.url


def test_a_tag_its_commit_its_tree_and_the_tree_itself(settings, remote, served):
    commit, tree = remote.git("rev-parse", "v1", "v1^{tree}").split()
    found = resolve(settings, f"{served}/a", mirrors=["https://mirror.example/a"])
    assert (found.commit, found.tree, found.tag, found.version) == (commit, tree, "v1", "1.0")
    assert found.mirrors == ("https://mirror.example/a",)
    folder = gitsource.ensure(settings, "a", found)
    assert content(folder) == {"pkg/a.py": b"a = 1\n", "run.sh": b"#!/bin/sh\n"}
    assert treehash.tree_id(folder) == tree
    assert leftovers(settings) == [folder]


@pytest.mark.parametrize("annotated", [False, True])
def test_a_tag_stands_for_its_commit_annotated_or_not(remote, annotated):
    remote.tag("v2", annotated=annotated)
    assert gitsource.lookup(remote.url, (), "v2") == remote.head


def test_a_commit_needs_no_tag(settings, remote):
    commit = remote.git("rev-parse", "v1")
    found = resolve(settings, remote.url, tag="", commit=commit)
    assert (found.commit, found.tag) == (commit, "")


def test_a_tag_that_moved_since_it_was_locked(settings, remote):
    locked = resolve(settings, remote.url)
    remote.tag("v1", force=True)
    with pytest.raises(MovedTagError, match="the tag v1 of a has moved") as caught:
        resolve(settings, remote.url, locked=locked)
    assert locked.commit in caught.value.why
    assert remote.head in caught.value.why
    assert f'commit = "{remote.head}"' in caught.value.todo
    assert resolve(settings, remote.url, locked=locked, commit=remote.head).commit == remote.head


def test_a_tag_that_is_not_where_the_intent_states(settings, remote):
    with pytest.raises(MovedTagError, match="has moved") as caught:
        resolve(settings, remote.url, commit=remote.head)
    assert "stated is" in caught.value.why
    assert remote.head in caught.value.why


def test_another_tag_or_another_remote_has_not_moved(settings, remote, tmp_path):
    locked = resolve(settings, remote.url)
    remote.tag("v2").tag("v1", force=True)
    assert resolve(settings, remote.url, tag="v2", locked=locked).commit == remote.head
    assert resolve(settings, clone(remote, tmp_path / "b").url, locked=locked).commit == remote.head


def test_a_tag_that_no_remote_has(settings, remote):
    with pytest.raises(ResolveError, match="no remote has the tag v9") as caught:
        resolve(settings, remote.url, mirrors=[NOWHERE], tag="v9")
    assert "has no such tag" in caught.value.why


def test_a_branch_is_no_tag(remote):
    with pytest.raises(ResolveError, match="no remote has the tag main"):
        gitsource.lookup(remote.url, (), "main")


def test_remotes_that_cannot_be_reached(settings, tmp_path):
    gone = (tmp_path / "gone").as_uri()
    with pytest.raises(NetworkError, match="the tag v1 could not be fetched") as caught:
        resolve(settings, NOWHERE, mirrors=[gone])
    assert NOWHERE in caught.value.why
    assert gone in caught.value.why
    assert not isinstance(caught.value, GoneCommitError)


def test_a_mirror_answers_where_the_remote_does_not(settings, remote):
    found = resolve(settings, NOWHERE, mirrors=[remote.url])
    assert (found.url, found.commit) == (NOWHERE, remote.git("rev-parse", "v1"))
    assert (gitsource.ensure(settings, "a", found) / "run.sh").exists()


def test_looking_up_takes_a_network(settings, remote):
    with pytest.raises(OfflineError, match="a is to be looked up"):
        resolve(replace(settings, offline=True), remote.url)


@pytest.mark.parametrize("url", ["-upload-pack=x", "ext::sh -c true", "ftp://git.example/a", "http://a\n.example/b"])
def test_a_url_that_git_would_do_something_else_with(settings, remote, url):
    for place in ({"url": url}, {"url": remote.url, "mirrors": [url]}):
        with pytest.raises(ResolveError, match="no URL that sources are fetched from"):
            resolve(settings, **place)


def test_a_commit_that_git_would_take_as_an_option(settings, remote, tmp_path):
    evil = replace(resolve(settings, remote.url), commit=f"--upload-pack=touch {tmp_path}/evil;")
    with pytest.raises(NetworkError):
        gitsource.ensure(settings, "a", evil)
    assert not (tmp_path / "evil").exists()


# --- a commit that is gone -------------------------------------------------------------------------------------------


def test_a_commit_that_a_forced_push_removed_comes_from_a_mirror(settings, remote, tmp_path):
    mirror = clone(remote, tmp_path / "mirror")
    source = resolve(settings, remote.url, mirrors=[mirror.url], tag="", commit=remote.head)
    remote.drop_history()
    assert content(gitsource.ensure(settings, "a", source))["pkg/a.py"] == b"a = 2\n"
    assert resolve(settings, remote.url, mirrors=[mirror.url], tag="", commit=source.commit) == source


def test_a_commit_that_is_gone_everywhere(settings, remote, tmp_path):
    mirror = clone(remote, tmp_path / "mirror")
    source = resolve(settings, remote.url, tag="", commit=remote.head)
    source = replace(source, mirrors=(mirror.url, NOWHERE))
    for item in (remote, mirror):
        item.git("config", "receive.denyCurrentBranch", "ignore")
    remote.drop_history()
    remote.git("push", "--quiet", "--mirror", mirror.url)
    mirror.git("gc", "--quiet", "--prune=now")
    for ask in (
        lambda: gitsource.ensure(settings, "a", source),
        lambda: resolve(settings, remote.url, mirrors=source.mirrors, tag="", commit=source.commit),
    ):
        with pytest.raises(GoneCommitError, match=f"the commit {source.commit} of a is gone") as caught:
            ask()
        assert "not our ref" in caught.value.why
        assert all(url in caught.value.why for url in (remote.url, mirror.url, NOWHERE))
        assert "mirror" in caught.value.todo
    assert leftovers(settings) == []


# --- another tree ----------------------------------------------------------------------------------------------------


def test_another_tree_than_was_locked(settings, remote):
    source = resolve(settings, remote.url)
    with pytest.raises(LockError, match="has another tree than was locked") as caught:
        gitsource.ensure(settings, "a", replace(source, tree="0" * 40))
    assert caught.value.why == f"expected {'0' * 40}, found {source.tree}"
    assert leftovers(settings) == []


def test_a_commit_that_the_server_replaces_is_the_real_one_or_none(settings, remote):
    source = resolve(settings, remote.url)
    remote.commit({"pkg/a.py": b"evil = 1\n"}, "evil")
    remote.git("replace", source.commit, remote.head)
    assert remote.git("show", f"{source.commit}:pkg/a.py") == "evil = 1"
    assert resolve(settings, remote.url) == source
    assert content(gitsource.ensure(settings, "a", source))["pkg/a.py"] == b"a = 1\n"


def test_the_same_tree_is_kept_once_wherever_it_comes_from(settings, remote, tmp_path):
    first = resolve(settings, remote.url)
    folder = gitsource.ensure(settings, "a", first)
    other = repository(tmp_path / "other", content(folder)).commit(message="again").tag("v1", annotated=True)
    second = resolve(settings, other.url)
    assert second.commit != first.commit
    assert gitsource.ensure(replace(settings, offline=True), "a", second) == folder


def raw_tree(remote, *rows):
    """A tree object with whatever names, as git would not write it."""
    data = b"".join(b"%b %b\0%b" % (mode, name, bytes.fromhex(item)) for mode, name, item in rows)
    return remote.git("hash-object", "-t", "tree", "-w", "--stdin", "--literally", data=data)


@pytest.mark.parametrize("names", [(b"..", b"evil"), (b".git", b"config"), (b".GIT", b"config"), (b".", b"evil")])
def test_a_tree_that_would_write_elsewhere(settings, remote, names):
    blob = remote.git("hash-object", "-w", "--stdin", data=b"evil\n")
    inner = raw_tree(remote, (b"100644", names[1], blob))
    tree = raw_tree(remote, (b"40000", names[0], inner))
    remote.git("reset", "--quiet", "--soft", remote.git("commit-tree", "-m", "evil", tree))
    source = resolve(settings, remote.url, tag="", commit=remote.head)
    with pytest.raises(LockError, match="cannot be written out") as caught:
        gitsource.ensure(settings, "a", source)
    assert "invalid path" in caught.value.why
    assert leftovers(settings) == []
    assert not list(settings.store.rglob("evil"))


@pytest.mark.parametrize("target", ["/etc/passwd", "../../outside", "pkg/../.."])
def test_a_link_that_leads_out_of_the_tree(settings, remote, target):
    (remote.folder / "out").symlink_to(target)
    remote.commit()
    with pytest.raises(LockError, match="cannot be used") as caught:
        gitsource.ensure(settings, "a", resolve(settings, remote.url, tag="", commit=remote.head))
    assert caught.value.why == "out links out of its tree"
    assert leftovers(settings) == []


def test_a_submodule_that_the_lock_places_elsewhere(settings, remote):
    source = resolve(settings, remote.url)
    stray = Submodule(path="../../evil", url=remote.url, commit=source.commit, tree=source.tree)
    with pytest.raises(LockError, match="lies outside of the tree"):
        gitsource.ensure(settings, "a", replace(source, submodules=(stray,)))
    assert not list(settings.store.rglob("evil"))


# --- the objects' own bytes ------------------------------------------------------------------------------------------

ALTERING = (
    b"*.bat text eol=crlf\n*.txt text=auto\n*.id ident\n*.sub export-subst\n*.bin filter=lfs diff=lfs -text\n"
    b"*.utf text working-tree-encoding=UTF-16\n*.up filter=upper\n"
)
PLAIN = {
    "run.bat": b"echo 1\necho 2\n", "mixed.txt": b"one\r\ntwo\n", "who.id": b"$Id$\n", "version.sub": b"$Format:%H$\n",
    "model.bin": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "wide.utf": "é\n".encode(),
    "loud.up": b"quiet\n",
}  # fmt: skip


def test_neither_attributes_nor_the_users_configuration_change_a_byte(settings, tmp_path, monkeypatch):
    ran = tmp_path / "ran"
    template = tmp_path / "home/template/hooks"
    template.mkdir(parents=True)
    for name in ("post-checkout", "reference-transaction", "post-index-change"):
        (template / name).write_text(f"#!/bin/sh\ntouch {ran}\n")
        (template / name).chmod(0o755)
    (tmp_path / "home/attributes").write_text("* text eol=crlf\n")
    (tmp_path / "home/.gitconfig").write_text(
        f"[core]\n\tautocrlf = true\n\teol = crlf\n\tsymlinks = false\n\tfileMode = false\n\thooksPath = {template}\n"
        f"\tattributesFile = {tmp_path}/home/attributes\n\tfsmonitor = {template}/post-checkout\n"
        f'[init]\n\ttemplateDir = {template.parent}\n[filter "upper"]\n\tsmudge = tr a-z A-Z\n\trequired = true\n'
        '[filter "lfs"]\n\tsmudge = false\n\trequired = true\n'
    )
    remote = repository(tmp_path / "srv/a")
    remote.git("config", "core.attributesFile", os.devnull)
    for name, data in {**PLAIN, ".gitattributes": ALTERING}.items():  # as they stand, past git's own conversions
        blob = remote.git("hash-object", "-w", "--stdin", "--no-filters", data=data)
        remote.git("update-index", "--add", "--cacheinfo", f"100644,{blob},{name}")
    remote.git("update-index", "--add", "--cacheinfo", f"100755,{blob},program")
    blob = remote.git("hash-object", "-w", "--stdin", data=b"run.bat")
    remote.git("update-index", "--add", "--cacheinfo", f"120000,{blob},link")
    remote.git("commit", "--quiet", "-m", "as they stand")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    found = gitsource.ensure(settings, "a", resolve(settings, remote.url, tag="", commit=remote.head))
    assert content(found) == {**PLAIN, ".gitattributes": ALTERING, "program": ALTERING, "a.txt": b"a\n"}
    assert os.readlink(found / "link") == "run.bat"
    assert os.access(found / "program", os.X_OK)
    assert not os.access(found / "run.bat", os.X_OK)
    assert not ran.exists()


def test_the_users_own_remotes_and_credentials_are_used(settings, remote, tmp_path, monkeypatch):
    with gitkit.http(tmp_path / "srv", user="me", password="s3cret") as server:
        inside = server.url.replace("http://", "http://me:s3cret@")
        config = f'[url "{inside}/"]\n\tinsteadOf = https://git.example.invalid/org/\n'
        (tmp_path / "home").mkdir()
        (tmp_path / "home/.gitconfig").write_text(config)
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        found = resolve(settings, "https://git.example.invalid/org/a")
        assert found.url == "https://git.example.invalid/org/a"
        assert gitsource.ensure(settings, "a", found).is_dir()


def test_credentials_are_asked_of_nobody_and_shown_to_nobody(settings, remote, tmp_path, capfd):
    with gitkit.http(tmp_path / "srv", user="me", password="right") as server:
        for url in (server.url, server.url.replace("http://", "http://me:wr0ng@")):
            with pytest.raises(NetworkError) as caught:
                resolve(settings, f"{url}/a")
            assert "wr0ng" not in str(caught.value)
    assert "***@" in str(caught.value)
    printed = capfd.readouterr()
    assert "wr0ng" not in printed.out + printed.err


@pytest.mark.parametrize("configured", [True, False])
def test_the_users_own_ssh_is_used_and_told_to_ask_nothing(settings, remote, tmp_path, monkeypatch, configured):
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/ssh"
    program.write_text(f'#!/bin/sh\necho "$*" > {tmp_path}/asked\nwhile [ $# -gt 1 ]; do shift; done\neval "$1"\n')
    program.chmod(0o755)
    if configured:
        (tmp_path / ".gitconfig").write_text(f"[core]\n\tsshCommand = {program} -i key\n")
    else:
        monkeypatch.setenv("GIT_SSH_COMMAND", f"{program} -i key")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve(settings, f"ssh://me@git.example.invalid{remote.folder}").commit == remote.git("rev-parse", "v1")
    asked = (tmp_path / "asked").read_text()
    assert asked.startswith("-i key -o BatchMode=yes -o ConnectTimeout=30")
    assert "me@git.example.invalid" in asked


@pytest.mark.programs("git", "openssl")
def test_the_certificates_that_the_environment_names_are_trusted(settings, remote, tmp_path, monkeypatch):
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
            "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate,
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    for name in ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO"):
        monkeypatch.delenv(name, raising=False)
    with gitkit.http(tmp_path / "srv", tls=tls) as server:
        with pytest.raises(NetworkError) as caught:
            resolve(settings, f"{server.url}/a")
        assert "certificate" in caught.value.why
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert resolve(settings, f"{server.url}/a").commit == remote.git("rev-parse", "v1")


# --- submodules ------------------------------------------------------------------------------------------------------


@pytest.fixture
def nested(tmp_path):
    """A repository with a submodule in a submodule, by relative URLs, the inner one with a program in it."""
    inner = repository(tmp_path / "srv/org/inner", {"inner.txt": b"i\n"})
    middle = repository(tmp_path / "srv/org/middle", {"middle.txt": b"m\n"}).submodule("deps/in", "../inner", inner)
    outer = repository(tmp_path / "srv/outer", {"outer.txt": b"o\n"})
    return outer.submodule("third/mid", "../org/middle", middle).tag("v1"), middle, inner


def test_submodules_are_pinned_and_laid_out_to_the_last(settings, nested, tmp_path):
    outer, middle, inner = nested
    with gitkit.daemon(tmp_path / "srv") as url:
        found = resolve(settings, f"{url}/outer")
        folder = gitsource.ensure(settings, "a", found)
        assert found.submodules == (
            Submodule(path="third/mid", url=f"{url}/org/middle", commit=middle.head, tree=middle.tree),
            Submodule(path="third/mid/deps/in", url=f"{url}/org/inner", commit=inner.head, tree=inner.tree),
        )
    assert content(folder).keys() >= {"outer.txt", "third/mid/middle.txt", "third/mid/deps/in/inner.txt"}
    assert gitsource.difference(folder, found) == ""
    assert treehash.tree_id(folder, {"third/mid": middle.head}) == outer.tree
    assert leftovers(settings) == [folder]
    assert not list(folder.rglob(".git"))


def test_looking_up_takes_the_trees_and_not_the_files(settings, nested, tmp_path):
    outer = nested[0]
    (outer.folder / "large").write_bytes(os.urandom(1 << 20))
    outer.commit()
    for item in nested:
        item.git("config", "uploadpack.allowFilter", "true")
    with gitkit.http(tmp_path / "srv") as server:
        found = resolve(settings, f"{server.url}/outer", tag="", commit=outer.head)
        assert len(found.submodules) == 2
        assert server.sent < 100_000


def test_a_submodule_whose_commit_is_gone(settings, nested):
    outer, _, inner = nested
    source = resolve(settings, outer.url)
    gone = inner.head
    inner.drop_history()
    for ask in (lambda: gitsource.ensure(settings, "a", source), lambda: resolve(settings, outer.url)):
        with pytest.raises(GoneCommitError, match="submodule third/mid/deps/in") as caught:
            ask()
        assert gone in caught.value.what
    assert leftovers(settings) == []


def test_a_submodule_with_another_tree_than_was_locked(settings, nested):
    source = resolve(settings, nested[0].url)
    wrong = replace(source.submodules[1], tree="0" * 40)
    with pytest.raises(LockError, match=r"third/mid/deps/in has another tree than was locked"):
        gitsource.ensure(settings, "a", replace(source, submodules=(source.submodules[0], wrong)))


def test_a_lock_that_forgot_a_submodule(settings, nested):
    source = resolve(settings, nested[0].url)
    with pytest.raises(LockError, match="has another tree than was locked"):
        gitsource.ensure(settings, "a", replace(source, submodules=source.submodules[:1]))


def test_a_submodule_without_a_url(settings, nested):
    outer = nested[0]
    outer.git("rm", "--quiet", "--cached", ".gitmodules")
    outer.git("commit", "--quiet", "-m", "no .gitmodules")
    with pytest.raises(ResolveError, match="pins a submodule at third/mid, and its .gitmodules says no URL"):
        resolve(settings, outer.url, tag="", commit=outer.head)


def test_a_remotes_submodule_may_not_be_a_folder_of_this_machine(settings, nested, tmp_path):
    outer, middle, _ = nested
    outer.submodule("private", middle.url, middle)
    with gitkit.daemon(tmp_path / "srv") as url, pytest.raises(ResolveError, match="this machine's disk"):
        resolve(settings, f"{url}/outer", tag="", commit=outer.head)


@pytest.mark.parametrize("url", ["ext::sh -c true", "-c"])
def test_a_submodule_url_that_git_would_do_something_else_with(settings, nested, url):
    outer, middle, _ = nested
    outer.submodule("evil", url, middle)
    with pytest.raises(ResolveError, match="no URL that sources are fetched from"):
        resolve(settings, outer.url, tag="", commit=outer.head)


@pytest.mark.parametrize("parent", ["https://h/o/a.git", "https://h/o/a/", "ssh://git@h/o/a", "git@h:o/a", "/srv/o/a"])
def test_a_relative_url_is_what_git_makes_of_it(tmp_path, parent):
    urls = ["../b", "./b.git", "../../p/b/", "../.././b", "https://x/y", "git@x:y"]
    outer = repository(tmp_path / "outer")
    outer.git("remote", "add", "origin", parent)
    for number, url in enumerate(urls):
        outer.submodule(f"s{number}", url, outer)
    outer.git("submodule", "--quiet", "init")
    found = [outer.git("config", f"submodule.s{number}.url") for number in range(len(urls))]
    assert [giturl.joined(parent, url) for url in urls] == found


# --- exported folders ------------------------------------------------------------------------------------------------


def test_a_packed_tree_is_all_that_a_machine_without_network_and_git_needs(settings, nested, tmp_path, monkeypatch):
    (nested[1].folder / "tool").symlink_to("deps/in/inner.txt")
    nested[1].commit()
    nested[0].submodule("third/again", "../org/middle", nested[1])
    source = resolve(settings, nested[0].url, tag="", commit=nested[0].head)
    packed = gitsource.pack(settings, source, tmp_path / "exported")
    assert packed == tmp_path / "exported/sources" / f"{gitsource.tree_id(source)}.tar"
    elsewhere = Settings(
        repo=tmp_path, store=tmp_path / "other", offline=True, exported=(tmp_path / "none", tmp_path / "exported")
    )
    monkeypatch.setenv("PATH", gitkit.without_git(tmp_path / "bin"))
    folder = gitsource.ensure(elsewhere, "a", source)
    assert content(folder) == content(gitsource.ensure(settings, "a", source))
    assert gitsource.difference(folder, source) == ""
    assert leftovers(elsewhere) == [folder]


def test_the_same_tree_is_packed_to_the_same_bytes(settings, remote, tmp_path):
    (remote.folder / "link").symlink_to("run.sh")
    (remote.folder / "run.sh").chmod(0o755)
    remote.commit()
    source = resolve(settings, remote.url, tag="", commit=remote.head)
    first = gitsource.pack(settings, source, tmp_path / "one").read_bytes()
    elsewhere = replace(settings, store=tmp_path / "other")
    folder = gitsource.ensure(elsewhere, "a", source)
    (folder / "pkg/a.py").chmod(0o600)
    os.utime(folder / "pkg/a.py", (1, 1))
    assert gitsource.pack(elsewhere, source, tmp_path / "two").read_bytes() == first
    with tarfile.open(tmp_path / "one/sources" / f"{gitsource.tree_id(source)}.tar") as tar:
        assert [(item.name, item.mode, item.mtime, item.uid) for item in tar] == [
            ("link", 0o755, 0, 0), ("pkg", 0o755, 0, 0), ("pkg/a.py", 0o644, 0, 0), ("run.sh", 0o755, 0, 0),
        ]  # fmt: skip


def test_a_stored_tree_that_was_touched_is_not_packed(settings, remote, tmp_path):
    source = resolve(settings, remote.url)
    (gitsource.ensure(settings, "a", source) / "pkg/a.py").write_text("touched")
    with pytest.raises(LockError, match="in the store is not what was locked"):
        gitsource.pack(settings, source, tmp_path / "exported")
    assert not (tmp_path / "exported").exists()


def altered(tar_path, how):
    data = tar_path.read_bytes()
    if how == "a byte":
        tar_path.write_bytes(data.replace(b"a = 1", b"a = 7"))
    elif how == "cut":
        tar_path.write_bytes(data[:700])
    elif how == "no tar":
        tar_path.write_bytes(b"<html>not found</html>")
    else:
        with tarfile.open(tar_path, "a") as tar:
            info = tarfile.TarInfo("run.sh" if how == "twice" else "../evil" if how == "outside" else "out")
            if how == "link":
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(info)


@pytest.mark.parametrize("how", ["a byte", "cut", "no tar", "twice", "outside", "link"])
def test_an_exported_tree_that_was_altered_is_refused_and_the_remote_asked(settings, remote, tmp_path, how, capsys):
    source = resolve(settings, remote.url)
    packed = gitsource.pack(settings, source, tmp_path / "exported")
    altered(packed, how)
    elsewhere = Settings(repo=tmp_path, store=tmp_path / "other", exported=(tmp_path / "exported",))
    with pytest.raises(OfflineError, match="is not in the store") as caught:
        gitsource.ensure(replace(elsewhere, offline=True), "a", source)
    assert str(packed) in caught.value.why
    assert leftovers(elsewhere) == []
    assert not list(tmp_path.rglob("evil"))
    capsys.readouterr()
    assert content(gitsource.ensure(elsewhere, "a", source))["pkg/a.py"] == b"a = 1\n"
    assert f"{packed} holds another tree" in capsys.readouterr().err


def test_offline_and_nowhere(settings):
    source = gitsource.GitSource(url="https://git.example.invalid/x", tag="v1", commit=UNKNOWN, tree=UNKNOWN)
    with pytest.raises(OfflineError, match=f"the commit {UNKNOWN[:12]} of a is not in the store"):
        gitsource.ensure(replace(settings, offline=True), "a", source)


def test_a_machine_without_git(settings, remote, tmp_path, monkeypatch):
    source = resolve(settings, remote.url)
    monkeypatch.setenv("PATH", gitkit.without_git(tmp_path / "bin"))
    with pytest.raises(CommandError, match="git is not there") as caught:
        gitsource.ensure(settings, "a", source)
    assert "--exported DIR" in caught.value.todo
    assert leftovers(settings) == []


# --- runs that end badly, and runs at once ---------------------------------------------------------------------------

CHILD = """
import sys
from pathlib import Path
from build import gitsource
from build.models import GitSource, Settings
url, commit, tree, store = sys.argv[1:]
source = GitSource(url=url, tag="", commit=commit, tree=tree)
print(gitsource.ensure(Settings(repo=Path("."), store=Path(store)), "a", source))
"""


def start(settings, source):
    """Another process that brings the source in."""
    argv = [sys.executable, "-c", CHILD, source.url, source.commit, source.tree, str(settings.store)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def test_a_fetch_that_is_killed_leaves_nothing_and_the_next_run_is_whole(settings, remote, tmp_path):
    with gitkit.http(tmp_path / "srv") as server:
        source = resolve(settings, f"{server.url}/a")
        server.stall = threading.Semaphore(0)
        child = start(settings, source)
        assert server.stall.acquire(timeout=60)  # it is in the middle of its fetch
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        assert not (settings.store / "trees").exists()
        server.stall = None
        server.go_on.set()
        folder = gitsource.ensure(settings, "a", source)
    assert content(folder)["pkg/a.py"] == b"a = 1\n"
    assert list((settings.store / "trees").iterdir()) == [folder]


def test_two_runs_at_once_fetch_it_once(settings, remote, tmp_path):
    with gitkit.http(tmp_path / "srv") as server:
        source = resolve(settings, f"{server.url}/a")
        server.stall = threading.Semaphore(0)
        children = [start(settings, source) for _ in range(2)]
        assert server.stall.acquire(timeout=60)
        server.go_on.set()
        told = [child.communicate(timeout=60) for child in children]
        assert not server.stall.acquire(blocking=False)  # nobody else began to fetch
    assert [child.returncode for child in children] == [0, 0], told
    assert {out.strip() for out, _ in told} == {str(settings.store / "trees" / gitsource.tree_id(source))}


@pytest.mark.parametrize("scheme", ["git", "http"])
def test_a_server_that_never_answers(settings, remote, monkeypatch, scheme):
    monkeypatch.setattr(gitremote, "ANSWER_SECONDS", 0.5)
    with gitkit.silent() as port:
        url = f"{scheme}://127.0.0.1:{port}/a"
        with pytest.raises(NetworkError) as caught:
            resolve(settings, url, tag="", commit=UNKNOWN)
        assert "took longer than" in caught.value.why
        assert resolve(settings, url, mirrors=[remote.url]).url == url


@pytest.mark.parametrize("trouble", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_an_interruption_leaves_nothing(settings, remote, monkeypatch, trouble):
    source = resolve(settings, remote.url)

    def broken(*_):
        raise trouble

    with monkeypatch.context() as patch:
        patch.setattr(treehash, "tree_id", broken)
        with pytest.raises(type(trouble)):
            gitsource.ensure(settings, "a", source)
    assert leftovers(settings) == []
    assert (gitsource.ensure(settings, "a", source) / "run.sh").exists()


def test_an_upstream_source_archive_in_a_repository(settings, tmp_path):
    """The way that a release's tree gets into git and out again."""
    release = {"pkg-1/PKG-INFO": b"Name: pkg\n", "pkg-1/pkg/__init__.py": b"", "pkg-1/csrc/k.cu": b"// k\r\n"}
    (tmp_path / "pkg-1.tar.gz").write_bytes(archive(release))
    with tarfile.open(tmp_path / "pkg-1.tar.gz") as tar:
        treetar.unpack(tar, tmp_path / "release")
    unpacked = content(tmp_path / "release/pkg-1")
    made = repository(tmp_path / "srv/pkg", unpacked).tag("v1", annotated=True)
    with gitkit.daemon(tmp_path / "srv") as url:
        source = resolve(settings, f"{url}/pkg")
        folder = gitsource.ensure(settings, "pkg", source)
    assert source.tree == made.tree == treehash.tree_id(folder) == treehash.tree_id(tmp_path / "release/pkg-1")
    assert content(folder) == unpacked
