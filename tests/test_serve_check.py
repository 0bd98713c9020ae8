"""The smoke check `serve-profile`, on a stand-in vLLM: every baked profile is composed and asked for."""

import sys

import pytest

from tests import servekit

sys.path.insert(0, str(servekit.IMAGE))

from checks import plan, serve_profile
from checks.events import Context, Failed, Skipped


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An /opt/spark with one profile, and a vLLM to be imported."""
    servekit.write_package(tmp_path / "site")
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "small.toml").write_text(servekit.PROFILE)
    monkeypatch.setattr(serve_profile, "HOME", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.partition(".")[0] == "vllm":
            del sys.modules[name]
    sys.path.remove(str(tmp_path))


def run(home, names=("small",)):
    manifest = {"profiles": {f"{name}.toml": "" for name in names}}
    return serve_profile.check_serve_profile(Context(manifest=manifest, scratch=home))


def change(home, old, new):
    path = home / "profiles" / "small.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_what_it_stores(home):
    outcome = run(home)
    assert outcome.findings == []
    evidence = outcome.evidence
    assert evidence["vllm"] == "9.9"
    assert "--block-size" in evidence["options"]["names"]
    assert evidence["options"]["count"] == len(evidence["options"]["names"])
    assert len(evidence["options"]["sha256"]) == 64
    assert evidence["variables"]["names"] == ["MAX_JOBS", "VLLM_KNOWN"]
    assert evidence["variables elsewhere in vLLM"]["names"] == ["VLLM_IN_A_KERNEL"]
    small = evidence["profiles"]["small"]
    assert small["ignored"] == ["VLLM_OF_THE_FORK"]
    assert small["environment"] == {"VLLM_KNOWN": "1", "VLLM_IN_A_KERNEL": "0"}
    assert small["command"][:3] == ["vllm", "serve", serve_profile.MODEL]


def test_an_option_that_vllm_lacks(home):
    change(home, "optional = []", 'arguments = ["--nope"]')
    assert run(home).findings == ["profile small: vLLM has no option --nope"]


def test_a_value_that_vllm_does_not_take(home):
    change(home, 'kv-cache-dtype = "fp8"', 'kv-cache-dtype = "fp9"')
    (finding,) = run(home).findings
    assert finding.startswith(
        "profile small: vLLM does not take the command: argument --kv-cache-dtype: invalid choice"
    )


def test_an_option_that_a_profile_can_do_without(home):
    path = "entrypoints/launchers/cli_args.py"
    servekit.write_package(home / "site", {path: servekit.PACKAGE[path].replace('"host", ', "")})
    change(home, "optional = []", 'optional = ["--host"]')
    outcome = run(home)
    assert outcome.findings == []
    assert outcome.evidence["profiles"]["small"]["left out"] == ["--host"]


def test_profiles_that_are_not_those_of_the_manifest(home):
    with pytest.raises(Failed, match="the manifest says"):
        run(home, names=("small", "other"))


def test_no_profile(home):
    (home / "profiles" / "small.toml").unlink()
    with pytest.raises(Skipped):
        run(home, names=())


def test_it_is_planned_where_vllm_is():
    assert "serve-profile" in plan.SETS["vllm"]
    assert plan.CHECKS["serve-profile"][0] == "vllm", "where vLLM is imported already"
    assert plan.function("serve-profile") is serve_profile.check_serve_profile
