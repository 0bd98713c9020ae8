"""build/gitsource.py: the bytes of trees, whatever git is told, and submodules to the last."""

import os
import ssl
import subprocess
from dataclasses import replace

import pytest

from build import gitsource, giturl, treehash
from build.errors import (
    GoneCommitError,
    LockError,
    NetworkError,
    ResolveError,
)
from build.models import Settings, Submodule
from tests import gitkit
from tests.gitkit import repository
from tests.sourcekit import content, leftovers, resolve

pytestmark = pytest.mark.programs("git")


@pytest.fixture
def settings(tmp_path):
    return Settings(repo=tmp_path / "repo", store=tmp_path / "store")


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
