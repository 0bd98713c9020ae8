"""What engines hold and run, asked over real sockets, and whether two run the same, whatever their image stores."""

import contextlib
import sys
from dataclasses import replace

import pytest

from build import nodes, samenode, sshengine
from build.errors import UsageError
from build.samenode import ALIKE, DIFFERENT, NOT_RUNNING, SAME, UNTOLD
from tests.enginekit import CLASSIC, CONTAINERD, Engine, Image, digest, running, served
from tests.guard import GUARD

TINY = Image()
OTHER = Image(manifest=digest("b"), config=digest("9"), chain="2" * 64, layers=(digest("d"), digest("7")))
KNOWN = {TINY.manifest: TINY.config, OTHER.manifest: OTHER.config}


def nothing(_manifest):
    return ""


def known(manifest):
    return KNOWN.get(manifest, "")


@pytest.fixture
def look(tmp_path):
    """Look into engines, each behind a socket of its own."""
    with contextlib.ExitStack() as kept:

        def look(*engines, configs=nothing):
            found = []
            for number, engine in enumerate(engines):
                socket = tmp_path / f"{len(list(tmp_path.iterdir()))}-{number}.sock"
                found.append(nodes.look(kept.enter_context(served(engine, socket)), configs))
            return found

        yield look


@pytest.fixture
def verdict(look):
    """The verdict of two engines, and what says so."""

    def verdict(*engines, configs=nothing):
        (pair,) = samenode.same(look(*engines, configs=configs))
        return pair.verdict, pair.why

    return verdict


def test_what_an_engine_holds_and_runs(look):
    foreign = Image(manifest=digest("0"), config=digest("8"), target="", tags=("debian:13",))
    engine = Engine(images=[TINY, OTHER, foreign], running={"serve": TINY, "db": foreign}, name="spark-1")
    (node,) = look(engine, configs=known)
    assert (node.name, node.version, node.store, node.lack) == ("spark-1", "26.1.5", CONTAINERD, "")
    assert [(image.id, image.target, image.chain_id) for image in node.images] == [
        (TINY.manifest, "tiny", "1" * 64), (OTHER.manifest, "tiny", "2" * 64),
    ]  # fmt: skip
    (item,) = node.running
    assert (item.name, item.status, item.started_as) == ("serve", "Up 2 hours", "spark-runtime:tiny")
    assert item.image is node.images[0]
    assert (item.image.config, item.image.layers) == (TINY.config, TINY.layers)
    assert item.image.names == ("spark-runtime:tiny", f"spark-runtime@{TINY.manifest}")


def test_an_id_is_a_config_in_one_store_and_a_manifest_in_the_other(look):
    one, two = look(running(TINY, store=CLASSIC), running(TINY), configs=known)
    for node, manifests in ((one, ()), (two, (TINY.manifest,))):
        (image,) = node.images
        assert (image.config, image.manifests) == (TINY.config, manifests)
    assert one.images[0].settings == two.images[0].settings, "which both tell, each in its way"


def test_over_ssh_each_request_is_a_connection_so_there_are_few(look):
    engine = Engine(images=[TINY, *(replace(OTHER, manifest=digest(c), config=digest(c)) for c in "23456")])
    engine.running = {"serve": TINY, "again": TINY}
    look(engine)
    assert len(engine.asked) == 5, engine.asked


@pytest.mark.parametrize("stores", [(CLASSIC, CONTAINERD), (CONTAINERD, CLASSIC), (CLASSIC, CLASSIC)])
def test_one_config_is_one_image_in_any_store(verdict, stores):
    assert verdict(*(running(TINY, store=store) for store in stores), configs=known) == (
        SAME, f"the same config, {TINY.config}",
    )  # fmt: skip


def test_one_manifest_is_one_image_where_no_config_is_known(verdict):
    assert verdict(running(TINY), running(TINY)) == (SAME, f"the same manifest, {TINY.manifest}")
    pulled = replace(TINY, pulled=True)
    assert verdict(running(pulled, store=CLASSIC), running(TINY))[0] == SAME


def test_layers_and_settings_say_it_where_neither_is(verdict):
    assert verdict(running(TINY, store=CLASSIC), running(TINY)) == (
        ALIKE, "tiny 111111111111: the config of one is not known",
    )  # fmt: skip


def test_configs_that_differ_in_their_history_are_alike_and_said(verdict):
    rebuilt = replace(TINY, config=digest("5"))
    found, why = verdict(running(TINY, store=CLASSIC), running(rebuilt, store=CLASSIC))
    assert found == ALIKE
    assert TINY.config in why
    assert rebuilt.config in why


def test_other_settings_are_another_image_of_the_same_layers(verdict):
    found, why = verdict(running(TINY, store=CLASSIC), running(replace(TINY, env=("A=2",))))
    assert (found, why) == (DIFFERENT, "tiny 111111111111: the same layers, another config: Env")


def test_other_layers_are_another_image(verdict):
    found, why = verdict(running(TINY, store=CLASSIC), running(OTHER), configs=known)
    assert (found, why) == (DIFFERENT, "tiny 111111111111 and tiny 222222222222: other layers")


def test_the_labels_of_an_image_made_from_ours_do_not_make_it_ours(verdict):
    derived = replace(TINY, config=digest("4"), layers=(*TINY.layers, digest("3")))
    assert verdict(running(TINY, store=CLASSIC), running(derived, store=CLASSIC))[0] == DIFFERENT


def test_who_runs_nothing_is_not_the_same(verdict):
    assert verdict(running(TINY, name="a"), Engine(images=[TINY], name="b"))[0] == NOT_RUNNING
    found, why = verdict(Engine(name="a"), Engine(name="b"))
    assert (found, why) == (NOT_RUNNING, "neither runs an image of ours")


def test_checks_that_run_are_not_what_a_machine_runs(verdict):
    engine = running(TINY)
    engine.labels = {"c0": {"spark-runtime.smoke": "1"}}
    assert verdict(engine, running(TINY))[0] == NOT_RUNNING


def test_of_several_images_the_worst_counts(verdict):
    assert verdict(running(TINY, OTHER), running(OTHER, TINY))[0] == SAME
    assert verdict(running(TINY, TINY), running(TINY))[0] == SAME, "as many containers as one likes"
    assert verdict(running(TINY), running(TINY, OTHER))[0] == DIFFERENT
    assert verdict(running(TINY, OTHER), running(TINY))[0] == DIFFERENT


def test_an_image_that_is_gone_is_known_by_its_id_or_not_at_all(verdict, look):
    gone = replace(TINY, gone=True)
    (node,) = look(running(gone))
    assert node.images == ()
    assert (node.running[0].image.target, node.running[0].image.chain_id) == ("tiny", "1" * 64)
    assert verdict(running(gone), running(TINY, store=CLASSIC), configs=known)[0] == SAME
    found, why = verdict(running(gone), running(TINY, store=CLASSIC))
    assert found == UNTOLD
    assert f"{TINY.manifest} is gone from its engine" in why


def test_each_two_are_compared_and_silent_ones_with_none(look):
    found = look(running(TINY, name="a"), running(TINY, name="b"), running(OTHER, name="c"))
    found.append(nodes.Node(url="tcp://silent", lack="no engine answers"))
    assert [pair.verdict for pair in samenode.same(found)] == [SAME, DIFFERENT, DIFFERENT]


def test_by_tcp():
    with served(running(TINY)) as url:
        assert nodes.look(url, nothing).running[0].name == "c0"


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ({"/version": (500, {"message": "broken"})}, "500"),
        ({"/containers/json": (403, {"message": "not for you"})}, "403"),
        ({"/info": (200, b"no JSON")}, "answers at"),
        ({"/info": (200, [1])}, "no Docker Engine that we understand"),
        ({"/containers/json": (200, [{"no": "ids"}])}, "no Docker Engine that we understand"),
    ],
)
def test_an_engine_in_trouble_is_told_of(look, answers, why):
    (node,) = look(running(TINY, answers=answers))
    assert why in node.lack
    assert (node.images, node.running) == ((), ())


def test_no_engine_is_told_of(tmp_path):
    assert "No such file" in nodes.look(f"unix://{tmp_path}/none.sock", nothing).lack
    assert "refused" in nodes.look("tcp://127.0.0.1:1", nothing).lack


@pytest.mark.parametrize(
    "url", ["worker", "/var/run/docker.sock", "fd://", "unix://", "ssh://", "ssh://me:secret@worker", "ssh://worker:x"]
)
def test_what_is_no_url_is_refused(url):
    with pytest.raises(UsageError) as caught:
        nodes.checked(url)
    assert "secret" not in str(caught.value)


# Stands in for ssh: notes how it was called, and is the engine's socket at its own input and output.
SSH = """\
#!{python}
import json, os, socket, sys, threading
with open({log!r}, "a") as log:
    log.write(json.dumps(sys.argv[1:]) + "\\n")
if "refused" in sys.argv:
    sys.exit("Warning: a word before\\nme@refused: Permission denied (publickey).")
there = socket.socket(socket.AF_UNIX)
there.connect({socket!r})
def up():
    while data := os.read(0, 65536):
        there.sendall(data)
    there.shutdown(socket.SHUT_WR)
threading.Thread(target=up, daemon=True).start()
while data := there.recv(65536):
    os.write(1, data)
"""


@pytest.fixture
def ssh(tmp_path, monkeypatch):
    """An ssh that leads to an engine's socket here; what it was called with."""
    program, log = tmp_path / "bin" / "ssh", tmp_path / "called"
    program.parent.mkdir()
    program.write_text(SSH.format(python=sys.executable, log=str(log), socket=str(tmp_path / "there.sock")))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.setattr(GUARD, "programs", frozenset({"ssh"}))
    return log


def test_by_ssh(ssh, tmp_path):
    with served(running(TINY), tmp_path / "there.sock"):
        node = nodes.look("ssh://me@worker:2222", nothing)
    assert (node.lack, node.url, node.running[0].name) == ("", "ssh://me@worker:2222", "c0")
    called = ssh.read_text().splitlines()
    expected = '["-o", "ConnectTimeout=10", "-l", "me", "-p", "2222", "--", "worker", "docker system dial-stdio"]'
    assert set(called) == {expected}


def test_why_ssh_failed_is_what_it_said(ssh):
    assert nodes.look("ssh://me@refused", nothing).lack == (
        "no engine answers at ssh://me@refused (me@refused: Permission denied (publickey).)"
    )


def test_no_ssh_is_told_of(ssh, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    assert "ssh cannot be run: No such file" in nodes.look("ssh://worker", nothing).lack


def test_a_path_over_there_goes_through_a_shell_unharmed():
    command = sshengine.command("ssh://worker/run/a b; reboot/docker.sock")
    assert command[-1] == "docker --host 'unix:///run/a b; reboot/docker.sock' system dial-stdio"
    assert sshengine.command("ssh://-oProxyCommand=reboot")[-3:-1] == ["--", "-oProxyCommand=reboot"]
    assert sshengine.command("ssh://[::1]:22")[-5:-1] == ["-p", "22", "--", "::1"]
    assert sshengine.command("ssh://[::1]")[-2] == "::1"
