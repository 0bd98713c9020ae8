"""The intent's `like`, and what contradicts itself in the tables of a native build."""

import copy
import tomllib

import pytest

from build.errors import IntentError
from build.intent import FILE, inherited, read_intent, target_checksum
from build.settings import REPO
from tests import lockkit, nativekit

NATIVE = nativekit.NATIVE + 'git = "https://git.example/alpha"\ntag = "v4"\n'


def like(**targets):
    """The tables of targets once what they are like was followed."""
    given = {"schema": 1, "targets": targets}
    before = copy.deepcopy(given)
    found = inherited(given)
    assert given == before, "what was read stays as it is"
    assert found["schema"] == 1
    return found["targets"]


def refused(*parts, **targets):
    with pytest.raises(IntentError, match="has a fault") as caught:
        like(**targets)
    for part in parts:
        assert part in caught.value.why


# --- like ----------------------------------------------------------------------------------------------------------


def test_what_a_target_does_not_say_is_as_there():
    found = like(a={"summary": "A", "python": "3.13", "lane": "wheel"}, b={"like": "a", "summary": "B"})
    assert found["b"] == {"summary": "B", "python": "3.13", "lane": "wheel"}
    assert found["a"] == {"summary": "A", "python": "3.13", "lane": "wheel"}


def test_a_key_is_taken_whole():
    base = {"constraints": ["x<1", "y<2"], "libraries": [{"path": "a"}], "native": {"component": "c", "heavy": ["h"]}}
    found = like(a=base, b={"like": "a", "constraints": [], "libraries": [{"path": "b"}], "native": {"component": "d"}})
    assert found["b"] == {"constraints": [], "libraries": [{"path": "b"}], "native": {"component": "d"}}


def test_components_are_taken_one_by_one_each_of_them_whole():
    base = {"components": {"one": {"distribution": "one", "tag": "v1"}, "two": {"distribution": "two"}}}
    own = {"like": "a", "components": {"one": {"distribution": "one", "commit": "c"}, "three": {"distribution": "3"}}}
    assert like(a=base, b=own)["b"]["components"] == {
        "one": {"distribution": "one", "commit": "c"}, "two": {"distribution": "two"}, "three": {"distribution": "3"},
    }  # fmt: skip
    assert like(a={}, b=own)["b"]["components"] == own["components"]
    assert like(a=base, b={"like": "a"})["b"]["components"] == base["components"]
    assert "components" not in like(a={}, b={"like": "a"})["b"]


@pytest.mark.parametrize("order", [("a", "b", "c"), ("c", "b", "a"), ("b", "c", "a")])
def test_a_chain_is_followed_in_whatever_order_it_is_written(order):
    tables = {
        "a": {"x": 1, "y": 1, "z": 1, "components": {"one": {"of": "a"}, "two": {"of": "a"}}},
        "b": {"like": "a", "y": 2, "z": 2, "components": {"two": {"of": "b"}}},
        "c": {"like": "b", "z": 3, "components": {"three": {"of": "c"}}},
    }
    found = like(**{name: tables[name] for name in order})
    assert list(found) == list(order)
    parts = {"one": {"of": "a"}, "two": {"of": "b"}, "three": {"of": "c"}}
    assert found["c"] == {"x": 1, "y": 2, "z": 3, "components": parts}


def test_two_may_be_like_one():
    found = like(a={"x": 1}, b={"like": "a", "y": 2}, c={"like": "a"})
    assert (found["b"], found["c"]) == ({"x": 1, "y": 2}, {"x": 1})


def test_a_circle_is_told():
    refused("targets.a.like: it is like itself", a={"like": "a"})
    refused("it is like itself", a={"like": "b"}, b={"like": "c"}, c={"like": "a"})
    refused("it is like itself", x={}, y={"like": "a"}, a={"like": "b"}, b={"like": "a"})


@pytest.mark.parametrize("other", ["gone", 3, ["a"], {"a": 1}, True])
def test_one_like_none_is_told(other):
    refused("targets.b.like: there is no target", str(other), a={}, b={"like": other})


@pytest.mark.parametrize("own", [{}, {"components": {"one": {}}}])
@pytest.mark.parametrize("base", [{"components": 3}, {"components": ["one"]}, {}])
def test_what_is_no_table_is_left_to_the_check_of_all_tables(base, own):
    """So that it is told with its place, and with all other faults."""
    expected = {**base, **own}
    assert like(a=base, b={"like": "a", **own})["b"] == expected
    assert like(a=own, b={"like": "a", **base})["b"] == {**own, **base}
    assert inherited({"targets": 3}) == {"targets": 3}
    assert inherited({}) == {}
    assert like(a=3, b={"like": "a"}) == {"a": 3, "b": {"like": "a"}}


def test_the_real_file_says_what_it_would_say_in_full():
    data = tomllib.loads((REPO / FILE).read_text())
    targets = read_intent(REPO).targets
    base, rehearsal, seed = targets["v0.22"], targets["g27-rehearsal"], targets["g27"]
    assert (rehearsal.bytecode, rehearsal.version) == (base.bytecode, base.version)
    assert rehearsal.components["flashinfer"] == base.components["flashinfer"]
    assert seed.components["flashinfer"] == base.components["flashinfer"]
    assert seed.components["vllm"] != rehearsal.components["vllm"]
    assert seed.requirements == rehearsal.requirements != base.requirements
    assert "libraries" not in data["targets"]["g27"]
    assert seed.libraries == rehearsal.libraries
    assert seed.native.complete
    assert not rehearsal.native.complete


# --- a repository with a target of the source lane -----------------------------------------------------------------


@pytest.fixture
def intent(tmp_path):
    """Writes a file with the target `demo` and more, and gives the repository."""
    shared = (REPO / FILE).read_text().split("[rebase]")[0].replace('default = "v0.32"', 'default = "demo"')
    demo = lockkit.TARGET.replace('lane = "wheel"', 'lane = "source"') + NATIVE

    def write(*edits, more=""):
        text = shared + demo
        for old, new in edits:
            assert old in text, old
            text = text.replace(old, new)
        (tmp_path / "lock").mkdir(exist_ok=True)
        (tmp_path / FILE).write_text(text + more)
        return tmp_path

    return write


def faults(repo):
    with pytest.raises(IntentError) as caught:
        read_intent(repo)
    return caught.value.why.split("\n       ")


def test_a_sound_one(intent):
    target = read_intent(intent()).targets["demo"]
    assert target.native.component == "app"
    assert target.wanted == ("app==1.0", "app==1.0"), "its requirements, and what is compiled"
    assert set(target.native.substitutes) == {"beta"}
    assert not target.native.complete


def test_a_lock_is_of_what_the_file_says_in_full_and_not_of_how(intent):
    plain = read_intent(intent(more='\n[targets.b]\nlike = "demo"\nsummary = "another"\n'))
    assert target_checksum(plain, "b") == target_checksum(plain, "demo")
    inner = intent(more='\n[targets.b]\nlike = "demo"\nconstraints = ["x<1"]\n')
    other = read_intent(inner)
    assert target_checksum(other, "b") != target_checksum(plain, "b")
    assert target_checksum(other, "demo") == target_checksum(plain, "demo")
    changed = read_intent(intent(('architectures = "12.1a"', 'architectures = "12.1"')))
    assert target_checksum(changed, "demo") != target_checksum(plain, "demo")


def test_a_fault_that_was_taken_over_is_told_of_both(intent):
    assert faults(intent(('rootfs = "tiny"', 'rootfs = "gone"'), more='\n[targets.b]\nlike = "demo"\n')) == [
        "targets.demo.rootfs: there is no table rootfs.gone", "targets.b.rootfs: there is no table rootfs.gone",
    ]  # fmt: skip
    assert faults(intent(more='\n[targets.b]\nlike = "demo"\nlane = "weel"\nnativ = 3\n'))[1] == (
        "targets.b.nativ: unknown key; did you mean 'native'?"
    )


def test_lane_and_table_go_together(intent):
    assert faults(intent(('lane = "source"', 'lane = "wheel"'))) == [
        "targets.demo.native: this table is for the lane 'source'"
    ]
    cut = NATIVE.split("[targets.demo.externals")[0]
    assert faults(intent((cut, "\n"))) == ["targets.demo.native: the lane 'source' needs this table"]


def test_externals_alone_are_no_fault_of_the_wheel_lane(intent):
    cut = NATIVE.split("[targets.demo.externals")[0]
    assert read_intent(intent((cut, "\n"), ('lane = "source"', 'lane = "wheel"'))).targets["demo"].externals


def test_compilers_are_needed(intent):
    assert faults(intent(("[root.compile]", "[root.other]"))) == ["targets.demo.native: there is no table root.compile"]


def test_the_component_is_one_of_the_target_s_and_has_the_sources(intent):
    assert faults(intent(('component = "app"', 'component = "apt"'))) == [
        "targets.demo.native.component: there is no component 'apt'"
    ]
    assert faults(intent(('origin = "archive"', 'origin = "git"'))) == [
        "targets.demo.native.origin: the component 'app' names no git remote",
        "targets.demo.native: a commit is compiled as it is; substitutes and stubs are for release archives",
    ]
    named = ('distribution = "app"', 'distribution = "app"\ngit = "https://git.example/app"')
    assert faults(intent(('origin = "archive"', 'origin = "git"'), named))[1:] == [
        "targets.demo.components.app: a tag or a commit is needed"
    ]
    assert faults(intent(('origin = "archive"', 'origin = "folder"')))[0].startswith("targets.demo.native.origin: ")


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("[targets.demo.native.stubs.gamma]", "[targets.demo.native.stubs.beta]", "beta"),
        ("onednn = ", "gamma = ", "gamma"),
        ("[targets.demo.externals.alpha]", "[targets.demo.externals.onednn]", "onednn"),
        ("[targets.demo.externals.alpha]", "[targets.demo.externals.beta]", "beta"),
    ],
)
def test_a_source_is_accounted_for_once(intent, old, new, name):
    assert faults(intent((old, new))) == [f"targets.demo.native: '{name}' is accounted for twice"]


def test_heavy_targets_are_targets(intent):
    repo = intent(('targets = ["_C"]', 'targets = ["_C", "_D"]\nheavy = ["_D", "_E", "_F"]'))
    assert faults(repo) == [
        "targets.demo.native.heavy: '_E' is not among native.targets",
        "targets.demo.native.heavy: '_F' is not among native.targets",
    ]


def test_all_of_it_at_once(intent):
    repo = intent(
        ('component = "app"', 'component = "apt"'), ("onednn = ", "gamma = "), ("[root.compile]", "[root.other]"),
        ('git = "https://git.example/alpha"\ntag = "v4"', 'git = "https://me:secret@git.example/alpha"'),
    )  # fmt: skip
    found = faults(repo)
    assert [text.split(":")[0] for text in found] == [
        "targets.demo.native", "targets.demo.native.component", "targets.demo.native",
        "targets.demo.externals.alpha", "targets.demo.externals.alpha",
    ]  # fmt: skip
    assert "secret" not in str(found)


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ('wheel = "kit==1.0"', 'wheel = "kit>=1.0"', "native.substitutes.beta.wheel"),
        ('wheel = "kit==1.0"', 'wheel = "kit==1.0 "', "native.substitutes.beta.wheel"),
        ('path = "kit/beta"', 'path = "../kit"', "native.substitutes.beta.path"),
        ('path = "kit/beta"', 'path = "/kit"', "native.substitutes.beta.path"),
        ('targets = ["_C"]', "targets = []", "native.targets"),
        ('requirements = ["cmake==4.1.2"]', "requirements = []", "native.requirements"),
        ('sources = ["CMakeLists.txt", "cmake/", "csrc/"]', "sources = []", "native.sources"),
        ('reason = "no git host in this test"', "", "native.substitutes.beta.reason"),
        ('onednn = "of the CPU build"', 'onednn = ""', "native.unused.onednn"),
        ('onednn = "of the CPU build"', 'OneDNN = "of the CPU build"', "native.unused.OneDNN"),
        ("[targets.demo.externals.alpha]", "[targets.demo.externals.Alpha]", "externals.Alpha"),
    ],
)
def test_what_cannot_be_meant_is_told_with_its_place(intent, old, new, place):
    found = faults(intent((old, new)))
    assert [text for text in found if text.startswith(f"targets.demo.{place}")] == found
