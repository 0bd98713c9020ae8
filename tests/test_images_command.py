"""What was published, where it is and runs: told with no record and no engine too; README has the table of it."""

import contextlib
import http.server
import json
import shutil
import threading
from dataclasses import replace

import pytest

from build import credentials, nodes, published, readmetable, results
from build import settings as settings_module
from build.__main__ import main
from build.commands import images as images_command
from build.knownimages import Known
from build.published import Place, PublishedLayer, Record, Signer
from build.registry import MANIFEST, Manifest
from build.settings import REPO
from tests.enginekit import CLASSIC, Engine, Image, digest, running, served

TINY = Image()
OTHER = Image(manifest=digest("b"), config=digest("9"), chain="2" * 64, layers=(digest("7"),))


def place(repository="ghcr.io/owner/name", time="2026-11-26T10:00:00+00:00", remarks=()):
    return Place(
        repository=repository, time=time, tag="tiny-111111111111", commit="0" * 40, remarks=remarks, signer=Signer(),
        documents=(),
    )  # fmt: skip


def report(gpu, **more):
    return published.Tested(
        **{"sha256": "0" * 64, "time": "2026-11-27T08:00:00+00:00", "execution": "native", "gpu": gpu,
           "summary": "41 passed, 0 failed, 0 skipped", "skipped": (), **more}
    )  # fmt: skip


def record(image=TINY, **more):
    said = {
        "target": image.target, "chain_id": image.chain, "manifest": image.manifest, "config": image.config,
        "canonical_config": "0" * 64, "rootfs": "0" * 64, "engine": "docker.io 26.1.5", "buildkit": "",
        "places": (place(),), "reports": (),
        "layers": tuple(PublishedLayer(diff_id=name, digest=name, size=1_500_000) for name in image.layers),
    }  # fmt: skip
    return Record(**{**said, **more})


class Run:
    """`nox -s images` in a clone of its own, with the engine that is named as the user's."""

    def __init__(self, repo, capsys):
        self.repo, self.capsys = repo, capsys

    def write(self, *records):
        for item in records:
            published.write(self.repo, item)

    def __call__(self, *arguments):
        self.status = main(["images", *arguments])
        self.out, self.err = self.capsys.readouterr()
        self.plain = " ".join(self.out.split())
        return self.out

    def json(self, *arguments):
        return json.loads(self(*arguments, "--json"))


@pytest.fixture
def images(tmp_path, monkeypatch, capsys):
    repo = tmp_path / "repo"
    (repo / "lock").mkdir(parents=True)
    monkeypatch.setattr(settings_module, "REPO", repo)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    return Run(repo, capsys)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Serve an engine as the user's own."""
    with contextlib.ExitStack() as kept:

        def here(engine):
            url = kept.enter_context(served(engine, tmp_path / "here.sock"))
            monkeypatch.setenv("DOCKER_HOST", url)
            return url

        yield here


@pytest.fixture
def node(tmp_path):
    """Serve an engine as another machine's; its URL."""
    with contextlib.ExitStack() as kept:
        yield lambda engine: kept.enter_context(served(engine, tmp_path / f"{engine.name}.sock"))


def test_with_no_record_and_no_engine_that_is_said(images):
    images()
    assert images.status == 0
    assert "Nothing is published yet" in images.out
    assert "Here: no engine answers at unix://" in images.out
    told = images.json()
    assert (images.status, told["published"], told["engines"][0]["version"]) == (0, [], "")
    assert "No such file" in told["engines"][0]["lack"]


def test_records_are_told_the_newest_first(images):
    old = record(OTHER, places=(place(time="2026-01-01T00:00:00+00:00", remarks=("dirty checkout",)),))
    images.write(old, record(reports=(report(""), report("NVIDIA GB10"))))
    images()
    assert images.status == 0
    rows = [line.split() for line in images.out.splitlines() if line.split()[:1] == ["tiny"]]
    assert [row[1:3] for row in rows] == [["1" * 12, "a" * 12], ["2" * 12, "b" * 12]]
    assert rows[0][3:8] == ["2026-11-26", "10:00", "ghcr.io/owner/name", "3.0", "MB"]
    assert "yes: NVIDIA GB10" in images.plain
    assert "1.5 MB no dirty checkout" in images.plain
    assert [(row["manifest"], row["gb10"]) for row in images.json()["published"]] == [
        (TINY.manifest, ["NVIDIA GB10"]), (OTHER.manifest, []),
    ]  # fmt: skip


def test_what_another_gpu_says_is_no_report_of_a_gb10(images):
    images.write(record(reports=(report("NVIDIA H100"),)))
    assert "no (NVIDIA H100)" in images()
    assert images.json()["published"][0]["gb10"] == []


@pytest.mark.parametrize("store", ["containerd", CLASSIC])
def test_what_runs_here_is_found_in_either_store(images, here, store):
    images.write(record(), record(OTHER))
    url = here(Engine(images=[TINY, OTHER], running={"serve": TINY}, store=store))
    images()
    assert "MB no runs: serve" in images.plain
    assert "MB no in the engine" in images.plain
    assert "published serve (Up 2 hours)" in images.plain
    rows = {row["manifest"]: row["here"] for row in images.json()["published"]}
    assert rows == {
        TINY.manifest: [{"engine": url, "running": ["serve"]}], OTHER.manifest: [{"engine": url, "running": []}],
    }  # fmt: skip


def test_what_is_not_published_is_known_by_the_results(images, here):
    shutil.copytree(REPO / results.FOLDER, images.repo / results.FOLDER)
    built = results.read(REPO, "tiny")
    here(Engine(images=[replace(TINY, manifest=built.manifest), OTHER]))
    images()
    assert f"{built.manifest[7:19]} in lock/results/" in images.plain
    assert f"{'b' * 12} not recorded" in images.plain
    (engine,) = images.json()["engines"]
    assert [image["recorded"] for image in engine["images"]] == ["tiny", ""]
    assert engine["images"][0]["config"] == built.config


def test_a_result_without_a_config_is_found_by_its_manifest(images, here):
    """As a build on an engine leaves it that does not show what it holds."""
    results.write(images.repo, replace(results.read(REPO, "tiny"), manifest=TINY.manifest, config=""))
    here(Engine(images=[TINY]))
    (engine,) = images.json()["engines"]
    assert [(image["recorded"], image["config"]) for image in engine["images"]] == [("tiny", "")]


def test_of_the_engines_here_the_one_that_runs_ours_is_compared(node):
    idle, busy = (nodes.Node(url=name, running=runs) for name, runs in (("idle", ()), ("busy", ("something",))))
    known = Known(records=(), recorded=())
    worker = node(Engine(name="worker"))
    for engines, expected in (((idle, busy), "busy"), ((busy, idle), "busy"), ((idle,), "idle")):
        found = images_command.looked_at([worker], engines, known)
        assert [item.url for item in found] == [expected, worker]


def test_an_engine_without_ours_is_said(images, here):
    here(Engine())
    assert "has no image of ours" in images()


def test_one_node_is_compared_with_this_machine(images, here, node):
    images.write(record())
    here(running(TINY, name="head"))
    worker = node(running(TINY, name="worker", store=CLASSIC))
    images("--node", worker)
    assert images.status == 0, images.err
    assert f"the same image (the same config, {TINY.config})" in images.plain
    told = images.json("--node", worker)
    assert [item["name"] for item in told["nodes"]] == ["head", "worker"]
    assert [(pair["verdict"], pair["same"]) for pair in told["pairs"]] == [("the same image", True)]


def test_machines_that_differ_end_with_53(images, here, node):
    here(running(TINY, name="head"))
    worker = node(running(OTHER, name="worker"))
    images("--node", worker)
    assert images.status == 53
    assert "different images (tiny 111111111111 and tiny 222222222222: other layers)" in images.plain
    assert "do not run the same image" in images.err
    assert images.json("--node", worker)["pairs"][0]["same"] is False
    assert images.status == 53


def test_several_nodes_are_compared_with_each_other_alone(images, here, node):
    here(running(OTHER, name="workstation"))
    urls = [node(running(TINY, name=name)) for name in ("a", "b")]
    told = images.json("--node", urls[0], "--node", urls[1])
    assert images.status == 0, images.err
    assert [(pair["a"], pair["b"]) for pair in told["pairs"]] == [tuple(urls)]


def test_a_machine_that_runs_nothing_is_not_the_same(images, here, node):
    here(running(TINY, name="head"))
    images("--node", node(Engine(images=[TINY], name="idle")))
    assert images.status == 53
    assert "idle" in images.err
    assert "does not run an image of ours" in images.err


def test_a_machine_that_does_not_answer_is_told_and_no_success(images, here, tmp_path):
    here(running(TINY, name="head"))
    images("--node", f"unix://{tmp_path}/silent.sock", "--node", "tcp://127.0.0.1:1")
    assert images.status == 40
    assert "silent.sock (No such file or directory)" in images.plain.replace("- ", "-") + images.err
    assert "refused" in images.err


@pytest.mark.parametrize("arguments", [["--node", "worker"], ["--node", "ssh://"]])
def test_what_is_no_engine_is_refused(images, arguments):
    images(*arguments)
    assert images.status == 2


@pytest.mark.parametrize("arguments", [["--remote"], ["--node", "ssh://worker"], ["--node", "tcp://127.0.0.1:1"]])
def test_offline_asks_nobody_else(images, arguments):
    images("--offline", *arguments)
    assert images.status == 22


class Registry:
    """A registry: manifests by digest, digests by tag; a status in place of every answer."""

    def __init__(self):
        self.manifests, self.tags, self.status = {}, {}, 0

    def push(self, data, *tags):
        made = Manifest(media_type=MANIFEST, data=data)
        self.manifests[made.digest] = made.data
        self.tags |= dict.fromkeys(tags, made.digest)
        return made.digest

    @contextlib.contextmanager
    def served(self):
        registry = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                name = self.path.rsplit("/", 1)[-1]
                found = registry.tags.get(name, name)
                data = registry.manifests.get(found, b"")
                status = registry.status or (200 if data else 404)
                self.send_response(status)
                for key, value in (("Content-Type", MANIFEST), ("Docker-Content-Digest", found)):
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(data)

            do_HEAD = do_GET  # noqa: N815 - http.server's names

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}/spark/vllm"
        finally:
            server.shutdown()
            server.server_close()


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.setattr(credentials, "find", lambda host: None)
    made = Registry()
    with made.served() as repository:
        made.repository = repository
        yield made


def test_remote_what_is_still_there_is_told(images, registry):
    pushed = registry.push(b'{"a": 1}', "tiny-111111111111", "tiny")
    images.write(record(manifest=pushed, places=(place(registry.repository),)))
    images("--remote")
    assert images.status == 0, images.err
    assert f"{pushed[7:19]} there tiny-111111111111 → this digest" in images.plain
    assert "tiny → this digest" in images.plain
    (answer,) = images.json("--remote")["remote"]
    assert (answer["present"], answer["findings"], answer["lack"]) == (True, [], "")


def test_remote_a_moving_tag_may_move_and_a_fixed_one_may_not(images, registry):
    pushed = registry.push(b'{"a": 1}', "tiny-111111111111", "tiny")
    images.write(record(manifest=pushed, places=(place(registry.repository),)))
    new = registry.push(b'{"a": 2}', "tiny")
    assert f"tiny → now {new[7:19]}" in " ".join(images("--remote").split())
    assert images.status == 0, images.err
    registry.tags["tiny-111111111111"] = new
    assert f"tiny-111111111111 → MOVED to {new[7:19]}" in " ".join(images("--remote").split())
    assert images.status == 66
    assert f"stands for {new}, and was published as {pushed}" in images.err


def test_remote_what_is_gone_is_named(images, registry):
    images.write(record(places=(place(registry.repository),)))
    images("--remote")
    assert images.status == 66
    assert f"{registry.repository}@{TINY.manifest} is gone" in images.err
    assert f"{registry.repository}:tiny-111111111111 is gone" in images.err


def test_remote_a_registry_that_keeps_us_out_is_told_and_the_others_are_asked(images, registry):
    pushed = registry.push(b'{"a": 1}', "tiny-111111111111", "tiny")
    closed = Registry()
    closed.status = 403
    with closed.served() as repository:
        images.write(record(manifest=pushed, places=(place(repository), place(registry.repository))))
        answers = images.json("--remote")["remote"]
    assert images.status == 64
    assert "does not allow us to read" in answers[0]["lack"]
    assert answers[1]["present"]


def test_an_edited_record_is_an_error(images):
    images.write(record())
    path = published.path_of(images.repo, TINY.manifest)
    path.write_text(path.read_text().replace('target = "tiny"', 'target = "other"'))
    images()
    assert images.status == 13


def test_readme_s_table_has_a_row_for_each_record_that_is_for_others(images):
    assert images("--readme") == readmetable.NOTHING
    old = place(time="2026-01-01T00:00:00+00:00")
    twice = (old, place("ghcr.io/owner/other"), place("127.0.0.1:5000/private", remarks=("dirty checkout",)))
    images.write(record(places=twice, reports=(report("NVIDIA GB10"), report("NVIDIA H100"))))
    images.write(record(OTHER, places=(old,)))
    images.write(record(replace(OTHER, manifest=digest("3")), places=(place(remarks=("not for use",)),)))
    images("--readme")
    assert images.status == 0
    both = f"`ghcr.io/owner/name@{TINY.manifest}`<br>`ghcr.io/owner/other@{TINY.manifest}`"
    assert images.out.splitlines() == [
        "| target | image | published | on a GB10 |",
        "| --- | --- | --- | --- |",
        f"| `tiny` | `ghcr.io/owner/name@{OTHER.manifest}` | 2026-01-01 | no report yet |",
        f"| `tiny` | {both} | 2026-01-01 | NVIDIA GB10: 41 passed, 0 failed, 0 skipped, 2026-11-27 |",
    ]


def test_the_table_is_written_between_its_markers(images, tmp_path):
    page = tmp_path / "README.md"
    page.write_text("before\n<!-- published -->\nold\n\nolder\n<!-- /published -->\nafter\n")
    images.write(record())
    images("--readme", str(page))
    assert images.status == 0
    text = page.read_text()
    assert text.startswith("before\n<!-- published -->\n| target |")
    assert text.endswith("|\n<!-- /published -->\nafter\n")
    assert readmetable.part(text) == readmetable.rendered([record()])
    images("--readme", str(page))
    assert page.read_text() == text
    page.write_text("no markers\n")
    images("--readme", str(page))
    assert (images.status, page.read_text()) == (2, "no markers\n")


def test_readme_tells_what_the_records_say():
    """Fails where a record was added without `nox -s images -- --readme README.md`."""
    assert readmetable.part((REPO / "README.md").read_text()) == readmetable.rendered(published.read_all(REPO))
