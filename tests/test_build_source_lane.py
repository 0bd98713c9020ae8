"""`nox -s build` of a target of the source lane: its options, what is done again, what it says of compiling."""

import argparse
import json
from contextlib import contextmanager
from pathlib import Path

import pytest

from build import assemble, compilecache, engine, making, nativebuild, recipe, roots, steps, units
from build.commands import build
from build.errors import CompileError, UsageError
from build.models import Built, Engine, Settings
from build.settings import REPO

JOBS = {"ordinary": 2, "heavy": 0, "reason": "enough"}
TOLD = {
    "jobs": JOBS, "configure": {"seconds": 61.0, "cpu": 60.0}, "compile": {"seconds": 700.0, "cpu": 1300.0},
    "cache": {"hits": 0, "misses": 11}, "ninja-log": "# ninja log v5\n",
}  # fmt: skip


def args(*words):
    parser = argparse.ArgumentParser()
    build.add_arguments(parser)
    return parser.parse_args(words)


class Bench:
    """Runs of the command; only what needs an engine is faked. ``asked``: the requests that the engine got."""

    def __init__(self, folder, monkeypatch, capsys):
        self.settings, self.capsys = Settings(repo=REPO, store=folder / "store"), capsys
        self.engine = Engine(url="unix:///x", version="1", private=False)
        self.asked, self.facts, self.there = [], TOLD, False
        for module, name, instead in (
            (engine, "find", lambda _: self.engine), (engine, "client", lambda _: None),
            (engine, "buildx", lambda *_: (["buildx"], {})), (assemble, "is_there", lambda *_: self.there),
            (making, "prepare", lambda *_, **__: assemble.Contexts(main=folder, layers=())),
            (making, "image", self.image), (assemble, "record", self.record), (build, "settle", lambda *_, **__: None),
        ):  # fmt: skip
            monkeypatch.setattr(module, name, instead)

    def image(self, job, argv, env, request):
        secrets = [json.loads(file.read_text()) for _, file in request.secrets]
        self.asked.append((secrets, request.fresh, request.no_cache))
        request.log.parent.mkdir(parents=True, exist_ok=True)
        lines = [f"#9 1.0 LANE {json.dumps({name: value})}\n" for name, value in self.facts.items()]
        request.log.write_text("".join(lines))
        if "fault" in self.facts:
            raise CompileError("it does not compile")
        return {}

    def built(self, job):
        return Built(
            target=job.name, image="i", digest="sha256:1", chain_id=recipe.chain_id(job), base="",
            engine=self.engine.url, layers=(),
        )  # fmt: skip

    def record(self, job, *_):
        return self.built(job)

    def know(self, target):
        """Note that this very image was built."""
        job = steps.load(self.settings, target)
        note = assemble._state(self.settings.store, target)
        note.parent.mkdir(parents=True)
        note.write_text(json.dumps({**self.built(job).__dict__}))
        self.there = True

    def run(self, *words):
        self.capsys.readouterr()
        assert build.run(args(*words), self.settings) == 0
        return self.capsys.readouterr()


@pytest.fixture
def bench(tmp_path, monkeypatch, capsys):
    return Bench(tmp_path, monkeypatch, capsys)


# --- options -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [("--jobs", "2"), ("--cold",), ("--jobs", "1", "--cold"), ("--ccache", "x")])
def test_options_for_compilers_are_a_mistake_where_nothing_is_compiled(bench, words):
    with pytest.raises(UsageError, match="nothing of tiny is compiled") as caught:
        bench.run("--target", "tiny", *words)
    assert "lane 'source'" in caught.value.todo
    assert bench.asked == []


@pytest.mark.parametrize("target", ["tiny", "canary"])
def test_a_number_below_none_is_a_mistake(bench, target):
    with pytest.raises(UsageError, match="--jobs -1 is no number of compilers"):
        bench.run("--target", target, "--jobs", "-1")
    assert bench.asked == []


def test_what_is_no_number_is_a_mistake_of_the_command_line(capsys):
    with pytest.raises(SystemExit) as caught:
        args("--jobs", "many")
    assert caught.value.code == 2


def test_neither_is_asked_for_by_itself(bench):
    bench.run("--target", "canary")
    assert bench.asked == [([{"jobs": 0, "cold": False}], (), False)]


def test_they_reach_the_step_and_cold_leaves_other_steps_cached(bench):
    bench.run("--target", "canary", "--jobs", "3", "--cold")
    assert bench.asked == [([{"jobs": 3, "cold": True}], ("native-amd64", "native-arm64"), False)]


def test_a_target_of_the_wheel_lane_gets_no_secret(bench):
    shown = bench.run("--target", "tiny")
    assert bench.asked == [([], (), False)]
    assert "compiled" not in shown.err


@pytest.mark.parametrize("other", ["--cold", "--no-cache"])
def test_a_compile_cache_is_not_carried_where_the_build_empties_it(bench, other):
    with pytest.raises(UsageError, match=f"{other} empties the compile cache that --ccache fills"):
        bench.run("--target", "canary", "--ccache", "x", other)
    assert bench.asked == []


class Carried:
    """In place of :func:`build.compilecache.carried`: the places, and how many builds had been asked for by then."""

    def __init__(self, bench, monkeypatch):
        self.bench, self.places, self.around = bench, [], []
        monkeypatch.setattr(compilecache, "carried", self.carried)

    @contextmanager
    def carried(self, place):
        self.places.append(place)
        before = len(self.bench.asked)
        yield
        self.around.append((before, len(self.bench.asked)))


def test_the_compile_cache_of_these_compilers_is_carried_around_the_build(bench, monkeypatch, tmp_path):
    carried = Carried(bench, monkeypatch)
    monkeypatch.chdir(tmp_path)
    bench.know("canary")
    bench.run("--target", "canary", "--ccache", "kept")
    (place,) = carried.places
    assert carried.around == [(0, 1)], "what is there is asked for again: its compile cache may lie in the engine alone"
    assert place.folder == Path.cwd() / "kept"
    assert place.mount == nativebuild.page(steps.load(bench.settings, "canary")).cache
    assert (place.root, place.builder, place.buildx) == (tmp_path / "builder.tar", None, ["buildx"])


def test_nobody_asked_so_nothing_is_carried(bench, monkeypatch):
    carried = Carried(bench, monkeypatch)
    bench.run("--target", "canary")
    bench.run("--target", "tiny")
    assert carried.places == []


# --- what is done again --------------------------------------------------------------------------------------------


def test_what_was_built_is_not_built_again_whatever_the_number_of_compilers(bench):
    bench.know("canary")
    assert "nothing changed since the last build" in bench.run("--target", "canary", "--jobs", "2").err
    assert bench.asked == []


def test_cold_compiles_what_was_built(bench):
    bench.know("canary")
    bench.run("--target", "canary", "--cold")
    assert len(bench.asked) == 1


# --- what it says --------------------------------------------------------------------------------------------------


def test_what_compiling_took_is_said(bench):
    shown = bench.run("--target", "canary").err
    assert "compiled in 700 s (1300 processor seconds, 2 at once), configured in 61 s; none of 11 files" in shown


def test_that_buildkit_had_it_is_said(bench):
    bench.facts = {}
    assert "nothing was to be compiled: BuildKit has the libraries" in bench.run("--target", "canary").err


def test_a_build_that_found_nothing_cached_is_set_beside_its_prediction(bench):
    compiled = [unit for unit in units.read(REPO, "canary").units if unit.target in ("_moe_C", "spinloop")]
    rows = [f"0\t{40_000 + n}\t0\tCMakeFiles/{u.target}.dir/{u.source}.o\tab" for n, u in enumerate(compiled)]
    bench.facts = {**TOLD, "ninja-log": "# ninja log v5\n" + "\n".join(rows) + "\n"}
    with_log = bench.run("--target", "canary").err
    assert "predicted" in with_log
    bench.facts = {**bench.facts, "cache": {"hits": 1, "misses": 10}}
    assert "predicted" not in bench.run("--target", "canary").err


def test_a_failure_is_its_cause_and_nothing_more_is_said(bench):
    bench.facts = {**TOLD, "fault": {}}
    with pytest.raises(CompileError):
        bench.run("--target", "canary")
    assert list((bench.settings.store / "scratch").iterdir()) == []
    assert "compiled in" not in bench.capsys.readouterr().err


def test_an_image_that_goes_elsewhere_says_it_too(bench):
    shown = bench.run("--target", "canary", "--output", "type=oci,dest=x.tar").err
    assert "compiled in 700 s" in shown


@pytest.mark.parametrize(
    ("machine", "who"), [("amd64", "this machine's own compilers (amd64)"), ("arm64", "the image's own compilers")]
)
def test_whose_compilers_run_is_said_before(bench, monkeypatch, machine, who):
    monkeypatch.setattr(roots, "host_architecture", lambda: machine)
    assert f"compiling, where it has to be: {who}" in bench.run("--target", "canary").err
    assert "compiling" not in bench.run("--target", "tiny").err
