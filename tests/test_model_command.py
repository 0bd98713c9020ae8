"""`model`: a profile's model from a hub that cuts, lies, fails and refuses; what is there counts, and what is not right is not."""

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from build import modelfolder, modelhub, modelready
from build.__main__ import main
from build.errors import (
    DeniedError,
    HashMismatchError,
    ModelError,
    NetworkError,
    OfflineError,
    SpaceError,
    UnknownTargetError,
    UsageError,
)
from build.settings import REPO
from tests import hubkit, modelkit
from tests.modelkit import REVISION

NAME = f"someone--Tiny-V4-{REVISION[:12]}"
SECRET = "hf_verySecretToken"


class Usage(NamedTuple):
    """What shutil.disk_usage gives."""

    total: int
    used: int
    free: int


class Bench:
    """A hub with a tiny model, the profile for it, and where it goes."""

    def __init__(self, hub, tmp_path, capsys):
        self.hub, self.capsys = hub, capsys
        self.tmp_path = tmp_path
        self.models = tmp_path / "models"
        self.folder = self.models / NAME
        self.files = modelkit.tiny()
        self.profile = modelkit.profile(tmp_path, self.size)
        hub.put(modelkit.REPO, REVISION, self.files)

    @property
    def size(self):
        return sum(map(len, self.files.values()))

    def holds(self, files, **profile):
        """Let the model be another one."""
        self.files = files
        self.profile = modelkit.profile(self.tmp_path, self.size, **profile)
        return self.hub.put(modelkit.REPO, REVISION, files)

    def argv(self, *options):
        return [
            "model", "--profile", str(self.profile), "--models", str(self.models), "--store", str(self.tmp_path / "store"),
            *options,
        ]  # fmt: skip

    def run(self, *options):
        """Exit code, standard output, standard error."""
        status = main(self.argv(*options))
        return (status, *self.capsys.readouterr())

    def there(self):
        """Path → bytes of the model's own files in the folder."""
        paths = [path for path in self.folder.rglob("*") if path.is_file() and modelfolder.OURS not in path.parts]
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in paths}

    def state(self):
        return json.loads((self.folder / modelfolder.OURS / "model.json").read_text())

    def part(self, path):
        """Where a large file comes in."""
        data = self.files[path]
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        return modelfolder.partial(self.folder, modelfolder.Item(path=path, size=len(data), digest=digest))

    def partials(self):
        with contextlib.suppress(FileNotFoundError):
            return sorted((self.folder / modelfolder.OURS / "partial").iterdir())
        return []


@pytest.fixture
def bench(tmp_path, monkeypatch, capsys):
    with hubkit.serve() as hub:
        hubkit.environment(hub, monkeypatch)
        yield Bench(hub, tmp_path, capsys)


def test_a_model_comes_in_whole_and_is_never_asked_for_again(bench):
    status, out, err = bench.run()
    assert status == 0, err
    assert bench.there() == bench.files
    assert f"{modelkit.REPO} at {REVISION} is whole" in out
    assert "routing tables: layer 0: 0 to 5, layer 1: 0 to 5" in out
    assert not any(path.is_symlink() for path in bench.folder.rglob("*")), "a container could not follow links"
    assert bench.partials() == []
    asked = len(bench.hub.asked)
    status, out, _ = bench.run("--json")
    told = json.loads(out)
    assert (status, told["fetched_bytes"], told["files"]) == (0, 0, len(bench.files))
    assert (told["repo"], told["revision"]) == (modelkit.REPO, REVISION)
    assert told["config"]["routed_experts"] == 6
    assert told["weights"]["tables"][0] == {"layer": 0, "lowest": 0, "highest": 5}
    assert told["folder"] == str(bench.folder)
    assert len(bench.hub.asked) == asked, "a model that is whole is not asked for"


def test_what_is_asked_of_the_hub(bench):
    """One list, each file once by its commit, plain https: nothing of what the hub offers besides is asked for."""
    assert bench.run()[0] == 0
    paths = bench.hub.paths()
    assert paths[0] == ("GET", f"/api/models/{modelkit.REPO}/revision/{REVISION}")
    rest = [path for _, path in paths[1:]]
    assert sorted(rest) == sorted(
        [f"/{modelkit.REPO}/resolve/{REVISION}/{path}" for path in bench.files]
        + [f"/{modelkit.REPO}/{REVISION}/{path}" for path in bench.files if path.endswith(".safetensors")]
    )
    assert rest[0].endswith("/config.json"), "it is looked at before gigabytes are fetched"
    assert {one.headers["accept-encoding"] for one in bench.hub.asked if "resolve" in one.path} == {"identity"}


def test_serve_finds_it_at_once_and_reads_only(bench, tmp_path):
    assert bench.run()[0] == 0
    settings = settings_of(tmp_path)
    profile = modelready.chosen(settings, str(bench.profile))
    before = {path: path.stat().st_mtime_ns for path in bench.folder.rglob("*")}
    assert modelready.require(settings, profile, bench.models, "v0.32") == bench.folder
    assert {path: path.stat().st_mtime_ns for path in bench.folder.rglob("*")} == before
    begun = modelfolder.read(bench.folder, modelready.place(settings, profile, bench.models).model)
    modelfolder.write(bench.folder, dataclasses.replace(begun, whole=False))
    with pytest.raises(ModelError, match="not whole"):
        modelready.require(settings, profile, bench.models, "v0.32")
    (bench.folder / "tokenizer/tokenizer.json").unlink()
    with pytest.raises(ModelError, match="not whole") as caught:
        modelready.require(settings, profile, bench.models, "v0.32")
    assert "1 of 8 files" in caught.value.why
    assert "tokenizer/tokenizer.json" in caught.value.why
    assert "nox -s model -- --profile tiny" in caught.value.todo
    with pytest.raises(ModelError, match="is not here"):
        modelready.require(settings, profile, tmp_path / "elsewhere", "v0.32")


def settings_of(tmp_path):
    from build.models import Settings

    return Settings(
        repo=REPO, store=tmp_path / "store", exported=(), offline=False, verbose=False, json=False, builder=None
    )


def test_where_models_are_kept(tmp_path, monkeypatch):
    assert modelfolder.root(tmp_path, None) == tmp_path / "models"
    monkeypatch.setenv(modelfolder.VARIABLE, "/mnt/large")
    assert modelfolder.root(tmp_path, None) == Path("/mnt/large")
    assert modelfolder.root(tmp_path, Path("/here")) == Path("/here")


# cuts


@pytest.mark.parametrize("how", [{}, {"reset": True}])
def test_a_connection_that_ends_is_gone_on_with_where_it_ended(bench, how):
    bench.holds(modelkit.tiny(more={"extra.bin": bytes(10) + os.urandom(700_000)}))
    fault = bench.hub.fault("GET", "extra.bin", cut=250_000, times=2, cdn=True, **how)
    status, _, err = bench.run()
    assert status == 0, err
    assert fault.times == 0
    ranges = [one.headers.get("range", "") for one in bench.hub.asked if one.cdn and "extra" in one.path]
    first, *later = (int(told.removeprefix("bytes=").removesuffix("-") or 0) for told in ranges)
    assert first == 0
    assert 0 <= later[0] <= later[1] < 700_000, ranges  # a reset may take with it what was not read yet
    assert how or later[0] > 0, ranges
    assert bench.there() == bench.files


def test_a_run_that_fails_keeps_what_it_had_and_the_next_goes_on_there(bench):
    bench.holds(modelkit.tiny(more={"extra.bin": os.urandom(700_000)}))
    fault = bench.hub.fault("GET", "extra.bin", cut=300_000, times=hubkit.ALWAYS, cdn=True)
    fault.before = lambda: setattr(fault, "cut", max(0, fault.cut - 200_000))
    status, _, err = bench.run()
    assert status == NetworkError.exit_code
    assert "extra.bin could not be had" in err
    assert "it goes on where it was" in err
    have = bench.part("extra.bin").stat().st_size
    assert 0 < have < 700_000
    bench.hub.faults.clear()
    bench.hub.asked.clear()
    status, out, _ = bench.run("--json")
    assert status == 0
    asked = [one for one in bench.hub.asked if one.cdn and "extra" in one.path]
    assert [one.headers["range"] for one in asked] == [f"bytes={have}-"]
    assert asked[0].sent == 700_000 - have
    assert json.loads(out)["fetched_bytes"] == sum(
        one.sent for one in bench.hub.asked if "resolve" in one.path or one.cdn
    )
    assert bench.there() == bench.files


def test_a_file_that_does_not_end_is_not_received_to_its_end(bench):
    bench.hub.fault("GET", "tokenizer.json", other=bytes(60_000_000), times=hubkit.ALWAYS)
    assert bench.run()[0] == HashMismatchError.exit_code
    (asked,) = [one for one in bench.hub.asked if "tokenizer" in one.path]
    assert asked.sent < 40_000_000, "only what the sockets hold"


def test_a_hub_without_ranges_is_read_from_the_start_again(bench):
    bench.holds(modelkit.tiny(more={"extra.bin": os.urandom(300_000)}))
    bench.hub.fault("GET", "extra.bin", cut=200_000, cdn=True)
    bench.hub.fault("GET", "extra.bin", ranges=False, cdn=True)
    assert bench.run()[0] == 0
    assert bench.there() == bench.files


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_hub_that_fails_for_a_while_is_asked_again(bench, status):
    bench.hub.fault("GET", "/api/models", status=status, times=2)
    bench.hub.fault("GET", "model-00002", status=status, times=2, headers={"Retry-After": "0"})
    assert bench.run()[0] == 0
    assert bench.there() == bench.files


@pytest.mark.parametrize(("status", "word"), [(429, "a token in $HF_TOKEN"), (503, "goes on where it was")])
def test_a_hub_that_fails_for_good_is_told_of(bench, status, word):
    bench.hub.fault("GET", "model-00002", status=status, times=hubkit.ALWAYS, body=b"try tomorrow")
    code, _, err = bench.run()
    assert code == NetworkError.exit_code
    assert "model-00002-of-00003.safetensors could not be had" in err
    assert f"HTTP {status}: try tomorrow" in err
    assert len(bench.hub.paths("model-00002")) in (5, 6), "it is not asked for ever"
    assert word in err


def test_a_hub_that_wants_us_to_wait_for_an_hour_is_not_waited_for(bench):
    bench.hub.fault("GET", "/api/models", status=429, headers={"Retry-After": "3600"}, times=hubkit.ALWAYS)
    start = time.monotonic()
    assert bench.run()[0] == NetworkError.exit_code
    assert time.monotonic() - start < 5
    assert len(bench.hub.asked) == 1


def test_a_slow_hub_is_waited_for(bench):
    bench.holds(modelkit.tiny(more={"extra.bin": os.urandom(300_000)}))
    bench.hub.fault("GET", "extra.bin", pace=0.05, cdn=True)
    assert bench.run()[0] == 0


def test_a_hub_that_is_silent_is_given_up(bench, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.1)
    bench.hub.fault("GET", "config.json", times=hubkit.ALWAYS, before=lambda: time.sleep(0.3))
    code, _, err = bench.run()
    assert code == NetworkError.exit_code
    assert "config.json could not be had" in err
    assert "Timeout" in err


def test_no_hub_at_all(bench, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    code, _, err = bench.run()
    assert code == NetworkError.exit_code
    assert "ConnectError" in err


@pytest.mark.parametrize("endpoint", ["nonsense", "ftp://127.0.0.1/", "http://127.0.0.1:port"])
def test_an_endpoint_that_is_no_address(bench, monkeypatch, endpoint):
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    code, _, err = bench.run()
    assert code == UsageError.exit_code, err
    assert "$HF_ENDPOINT is no address of a hub" in err


@pytest.mark.parametrize("body", [b"<html>sign in</html>", b"[]", b'{"id": 3}', b'{"id": "a/b", "siblings": [{}]}'])
def test_what_answers_is_no_hub(bench, body):
    bench.hub.fault("GET", "/api/models", status=200, body=body, times=hubkit.ALWAYS)
    code, _, err = bench.run()
    assert code in (NetworkError.exit_code, ModelError.exit_code)
    assert "no model hub answers like that" in err or "what the hub lists is not" in err
    assert "Traceback" not in err


def test_offline_by_the_librarys_own_variable(bench, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    code, _, err = bench.run()
    assert code == OfflineError.exit_code
    assert "HF_HUB_OFFLINE" in err


# wrong bytes


def test_other_bytes_are_refused_and_removed(bench):
    name = "model-00002-of-00003.safetensors"
    bench.hub.fault("GET", name, other=bench.files[name][:-1] + b"!", times=hubkit.ALWAYS, cdn=True)
    code, _, err = bench.run()
    assert code == HashMismatchError.exit_code
    assert f"{name} of {modelkit.REPO} has other bytes than the revision's list says" in err
    assert hashlib.sha256(bench.files[name]).hexdigest() in err
    assert name not in bench.there()
    assert not [path for path in bench.partials() if path.stat().st_size == len(bench.files[name])]
    assert not bench.state()["whole"]
    bench.hub.faults.clear()
    assert bench.run()[0] == 0


@pytest.mark.parametrize("other", [b"", b"short", bytes(100_000)])
def test_a_file_of_another_length_is_refused(bench, other):
    bench.hub.fault("GET", "tokenizer.json", other=other, times=hubkit.ALWAYS)
    code, _, err = bench.run()
    assert code == HashMismatchError.exit_code
    assert "tokenizer/tokenizer.json" in err
    assert "tokenizer/tokenizer.json" not in bench.there()


@pytest.mark.parametrize("told", [{"sha256": "0" * 64}, {"size": 5_000}])
def test_a_list_that_does_not_fit_its_files(bench, told):
    files = bench.hub.repos[modelkit.REPO][REVISION]
    file = files["model-00001-of-00003.safetensors"]
    file.told = told
    bench.profile = modelkit.profile(bench.tmp_path, bench.size + file.size - len(file.data))
    code, _, err = bench.run()
    assert code == HashMismatchError.exit_code
    assert "model-00001-of-00003.safetensors" in err


def test_small_files_are_compared_with_gits_id(bench):
    bench.hub.repos[modelkit.REPO][REVISION]["README.md"].told = {"blob": "0" * 40}
    code, _, err = bench.run()
    assert code == HashMismatchError.exit_code
    assert f"blob:{'0' * 40}" in err


def test_bytes_that_an_earlier_run_left_wrong_are_fetched_once_more(bench):
    bench.holds(modelkit.tiny(more={"extra.bin": os.urandom(300_000)}))
    part = bench.part("extra.bin")
    for left in (b"\0" * 100_000, b"\0" * 300_000, b"\0" * 300_001):
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(left)
        assert bench.run()[0] == 0
        assert bench.there()["extra.bin"] == bench.files["extra.bin"]
        shutil.rmtree(bench.folder)


def test_a_part_beyond_the_end_of_the_hubs_file(bench):
    """The hub says 416 to a range that begins behind its file, which is shorter than listed: told, not tried for ever."""
    file = bench.hub.repos[modelkit.REPO][REVISION]["model-00001-of-00003.safetensors"]
    file.told = {"size": 10_000}
    bench.profile = modelkit.profile(bench.tmp_path, bench.size + 10_000 - len(file.data))
    part = bench.part("model-00001-of-00003.safetensors")
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(9_000))
    assert bench.run()[0] == HashMismatchError.exit_code


# what is there already


def test_files_that_somebody_copied_there_are_read_and_not_fetched(bench):
    modelkit.lay(bench.folder, {path: data for path, data in bench.files.items() if path.endswith(".safetensors")})
    assert bench.run()[0] == 0
    assert bench.hub.sent == 0
    assert bench.there() == bench.files


def test_a_copied_file_with_other_bytes_is_fetched_anew(bench):
    name = "model-00002-of-00003.safetensors"
    modelkit.lay(bench.folder, {name: b"\0" * len(bench.files[name])})
    status, _, err = bench.run()
    assert status == 0
    assert f"warning: {name} was there with other bytes" in err
    assert bench.there() == bench.files


def test_a_link_is_not_a_file(bench, tmp_path):
    name = "model-00001-of-00003.safetensors"
    (tmp_path / "blob").write_bytes(bench.files[name])
    bench.folder.mkdir(parents=True)
    (bench.folder / name).symlink_to(tmp_path / "blob")
    assert bench.run()[0] == 0
    assert not (bench.folder / name).is_symlink()
    assert (tmp_path / "blob").read_bytes() == bench.files[name]


@pytest.mark.parametrize("how", [os.unlink, lambda path: os.truncate(path, 10)])
def test_a_file_that_gets_lost_is_fetched_alone(bench, how):
    assert bench.run()[0] == 0
    how(bench.folder / "model-00003-of-00003.safetensors")
    bench.hub.asked.clear()
    assert bench.run()[0] == 0
    assert [path for _, path in bench.hub.paths("resolve")] == [
        f"/{modelkit.REPO}/resolve/{REVISION}/model-00003-of-00003.safetensors"
    ]


def test_two_files_with_the_same_bytes_are_two_files(bench):
    same = os.urandom(200_000)
    bench.holds(modelkit.tiny(more={"a.bin": same, "b/c.bin": same}))
    assert bench.run()[0] == 0
    assert bench.there() == bench.files


# revisions


def test_a_revision_that_the_hub_lacks(bench):
    bench.profile = modelkit.profile(bench.tmp_path, bench.size, revision="f" * 40)
    code, _, err = bench.run()
    assert code == ModelError.exit_code
    assert f"the hub has no revision {'f' * 40} of {modelkit.REPO}" in err
    assert f"Invalid rev id: {'f' * 40}" in err


def test_a_branch_cannot_be_meant(bench):
    bench.profile = modelkit.profile(bench.tmp_path, bench.size, revision="main")
    code, _, err = bench.run()
    assert code == 70
    assert "model.revision" in err
    assert bench.hub.asked == []


def test_a_hub_that_answers_with_another_commit(bench):
    bench.hub.branches[REVISION] = "a" * 40
    bench.hub.put(modelkit.REPO, "a" * 40, bench.files)
    code, _, err = bench.run()
    assert code == ModelError.exit_code
    assert f"it is the list of {'a' * 40}" in err


def test_another_revision_in_the_folder_names_both(bench):
    assert bench.run()[0] == 0
    path = bench.folder / modelfolder.OURS / "model.json"
    path.write_text(path.read_text().replace(REVISION, "b" * 40))
    for option in ("--offline", "--verify", "--dry-run"):
        code, _, err = bench.run(option)
        assert code == ModelError.exit_code
        assert "b" * 40 in err
        assert REVISION in err


def test_a_list_that_grew_since_the_folder_was_begun(bench):
    bench.hub.fault("GET", "model-00002", status=404, times=hubkit.ALWAYS)
    assert bench.run()[0] == ModelError.exit_code
    bench.hub.faults.clear()
    bench.hub.put(modelkit.REPO, REVISION, {**bench.files, "later.bin": b"x"})
    code, _, err = bench.run()
    assert code == ModelError.exit_code
    assert "a commit cannot change, and these differ: later.bin" in err


def test_a_state_that_cannot_be_read(bench):
    assert bench.run()[0] == 0
    path = bench.folder / modelfolder.OURS / "model.json"
    for text in (
        "{",
        "[]",
        '{"schema": 1}',
        '{"schema": 1, "model": {"x": 1}, "files": [], "whole": true, "verified": {}}',
    ):
        path.write_text(text)
        code, _, err = bench.run()
        assert code == ModelError.exit_code
        assert "cannot be read" in err
    path.write_text('{"schema": 99}')
    assert "newer version" in bench.run()[2]
    path.unlink()
    bench.hub.asked.clear()
    assert bench.run()[0] == 0
    assert bench.hub.sent == 0, "what is there is read, and not fetched again"


@pytest.mark.parametrize("path", ["../evil", "/etc/evil", "a/../../evil", ".spark-runtime/model.json", "a//b", "a\nb"])
def test_a_path_out_of_the_folder_is_refused_before_anything_is_written(bench, path):
    bench.hub.put(modelkit.REPO, REVISION, {**bench.files, path: b"x"})
    code, _, err = bench.run()
    assert code == ModelError.exit_code
    assert "is no path below a folder" in err
    assert bench.there() == {}


@pytest.mark.parametrize(
    ("files", "told", "why"),
    [
        ({}, {}, "it is empty"),
        ({"a": b"x", "a/b": b"x"}, {}, "'a' stands in it twice"),
        ({"a.bin": b"x"}, {"size": 60 * 10**9}, "files of more than 50 GB"),
        ({"a.bin": b"x"}, {"sha256": "abc"}, "no size or hash"),
    ],
)
def test_a_list_that_cannot_be_one(bench, files, told, why):
    for file in bench.hub.put(modelkit.REPO, REVISION, files).values():
        file.told = told
    code, _, err = bench.run()
    assert code == ModelError.exit_code
    assert why in err


# who may


@pytest.mark.parametrize("kind", ["private", "gated"])
def test_a_model_that_is_not_for_all_names_the_variable(bench, kind, monkeypatch):
    getattr(bench.hub, kind).add(modelkit.REPO)
    bench.hub.token = SECRET
    code, out, err = bench.run()
    assert code == DeniedError.exit_code
    assert "$HF_TOKEN is not set" in err
    assert "restricted" in err or "Repository not found" in err
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    code, out, err = bench.run()
    assert code == DeniedError.exit_code
    assert "the token of $HF_TOKEN was sent" in err
    monkeypatch.setenv("HF_TOKEN", f" {SECRET}\n")
    code, out, err = bench.run("-v")
    assert code == 0
    assert SECRET not in out + err
    assert bench.there() == bench.files


def test_the_token_goes_to_the_hub_alone_and_into_no_file(bench, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", SECRET)
    assert bench.run()[0] == 0
    assert {one.headers.get("authorization") for one in bench.hub.asked if not one.cdn} == {f"Bearer {SECRET}"}
    assert {one.headers.get("authorization") for one in bench.hub.asked if one.cdn} == {None}
    for path in bench.tmp_path.rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes(), path
    assert SECRET not in repr(modelhub.find(bench.tmp_path))


def test_a_token_of_the_librarys_own_file_is_not_taken(bench, monkeypatch, tmp_path):
    from huggingface_hub import constants

    (tmp_path / "token").write_text(SECRET)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    assert bench.run()[0] == 0
    assert {one.headers.get("authorization") for one in bench.hub.asked} == {None}


def test_a_token_that_cannot_be_one_is_not_shown(bench, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", f"{SECRET} and more")
    code, _, err = bench.run()
    assert code == UsageError.exit_code
    assert "$HF_TOKEN is no token" in err
    assert SECRET not in err


def test_a_signed_address_is_not_shown(bench):
    bench.hub.fault("GET", "model-00002", status=403, cdn=True, times=hubkit.ALWAYS)
    code, _, err = bench.run()
    assert code == DeniedError.exit_code
    assert "secret" not in err


def test_a_model_that_is_not_there(bench, monkeypatch):
    bench.profile = modelkit.profile(bench.tmp_path, 10, repo="someone/Else")
    assert bench.run()[0] == DeniedError.exit_code, "without a token a hub does not say whether it is there"
    monkeypatch.setenv("HF_TOKEN", SECRET)
    bench.hub.token = SECRET
    code, _, err = bench.run()
    assert code == ModelError.exit_code
    assert "the hub has no model someone/Else" in err


# disk


def test_too_little_disk_is_said_before_anything_is_fetched(bench, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 10**9 - 1000, 1000))
    code, _, err = bench.run()
    assert code == SpaceError.exit_code
    assert NAME in err
    assert "--models DIR" in err
    assert bench.hub.paths("resolve") == []


def test_what_is_there_already_counts(bench, monkeypatch):
    weights = {path: data for path, data in bench.files.items() if path.endswith(".safetensors")}
    modelkit.lay(bench.folder, weights)
    small = bench.size - sum(map(len, weights.values()))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 0, small))
    assert bench.run()[0] == 0
    shutil.rmtree(bench.folder)
    modelkit.lay(bench.folder, weights)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 0, small - 1))
    assert bench.run()[0] == SpaceError.exit_code


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device that is always full (full(4))")
def test_a_disk_that_fills_up_on_the_way(bench):
    bench.holds(modelkit.tiny(more={"extra.bin": os.urandom(300_000)}))
    part = bench.part("extra.bin")
    part.parent.mkdir(parents=True)
    part.symlink_to("/dev/full")
    code, _, err = bench.run()
    assert code == SpaceError.exit_code
    assert "the disk is full" in err
    part.unlink()
    assert bench.run()[0] == 0


# options


def test_a_dry_run_writes_nothing_and_says_what_it_takes(bench):
    code, out, _ = bench.run("--dry-run")
    assert code == 0
    assert f"to fetch: {len(bench.files)} files, " in out
    assert not bench.folder.exists()
    modelkit.lay(bench.folder, {"model-00001-of-00003.safetensors": bench.files["model-00001-of-00003.safetensors"]})
    told = json.loads(bench.run("--dry-run", "--json")[1])
    assert told["to_compare"] == ["model-00001-of-00003.safetensors"]
    assert sorted([*told["to_fetch"], *told["to_compare"]]) == sorted(bench.files)
    assert told["bytes_to_fetch"] == bench.size - len(bench.files["model-00001-of-00003.safetensors"])
    assert told["free_bytes"] > 0
    assert not (bench.folder / modelfolder.OURS).exists()
    assert bench.run()[0] == 0
    assert json.loads(bench.run("--dry-run", "--json", "--offline")[1])["to_fetch"] == []


def test_offline_only_looks(bench):
    code, _, err = bench.run("--offline")
    assert code == OfflineError.exit_code
    assert "nothing of it is there" in err
    assert bench.run("--offline", "--dry-run")[0] == OfflineError.exit_code
    assert not bench.folder.exists()
    assert bench.run()[0] == 0
    bench.hub.asked.clear()
    assert bench.run("--offline")[0] == 0
    (bench.folder / "README.md").unlink()
    code, _, err = bench.run("--offline")
    assert code == OfflineError.exit_code
    assert "1 of 8 files are missing" in err
    assert bench.hub.asked == []


def test_offline_reads_a_folder_that_cannot_be_written_to(bench):
    assert bench.run()[0] == 0
    before = {path: path.stat().st_mtime_ns for path in bench.folder.rglob("*")}
    assert bench.run("--offline")[0] == 0
    assert bench.run("--verify")[0] == 0
    assert {path: path.stat().st_mtime_ns for path in bench.folder.rglob("*")} == before


def test_verify_reads_everything_again_and_removes_what_is_damaged(bench):
    assert bench.run("--verify")[0] == ModelError.exit_code, "there is nothing yet"
    assert bench.run()[0] == 0
    assert bench.run("--verify")[0] == 0
    for name in ("model-00002-of-00003.safetensors", "tokenizer/tokenizer.json"):
        path = bench.folder / name
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    code, out, err = bench.run("--verify", "--json")
    assert code == ModelError.exit_code
    assert json.loads(out)["removed"] == ["model-00002-of-00003.safetensors", "tokenizer/tokenizer.json"]
    assert "2 of 8 files" in err
    assert "model-00002-of-00003.safetensors, tokenizer/tokenizer.json" in err
    assert set(bench.files) - set(bench.there()) == {"model-00002-of-00003.safetensors", "tokenizer/tokenizer.json"}
    assert not bench.state()["whole"]
    bench.hub.asked.clear()
    assert bench.run()[0] == 0
    assert len(bench.hub.paths("resolve")) == 2, "only those are fetched"
    assert bench.there() == bench.files


def test_options_that_cannot_be_meant_together(bench):
    assert bench.run("--verify", "--dry-run")[0] == UsageError.exit_code


def test_a_profile_that_is_not_there(bench):
    assert main(["model", "--profile", "k144-nospec-200"]) == 70
    assert "did you mean k144-nospec-200k?" in bench.capsys.readouterr().err
    assert main(["model", "--profile", "./none.toml"]) == 70


# what it must be


@pytest.mark.parametrize(
    ("files", "profile", "why"),
    [
        (modelkit.tiny, {"experts": 8}, "n_routed_experts is 6, and the profile says 8"),
        (modelkit.tiny, {"type": "deepseek_v3"}, "model_type is 'deepseek_v4'"),
        (modelkit.tiny, {"more": "hash-layers = 3"}, "num_hash_layers is 2, and the profile says 3"),
        (modelkit.tiny, {"more": "layers = 43"}, "num_hidden_layers is 3, and the profile says 43"),
        (lambda: modelkit.tiny(said=modelkit.config(), more={"config.json": b"{}"}), {}, "model_type is None"),
    ],
)
def test_a_model_of_another_kind_is_refused_before_its_weights_are_fetched(bench, files, profile, why):
    bench.holds(files(), **profile)
    code, _, err = bench.run()
    assert code == ModelError.exit_code
    assert why in err
    assert bench.hub.sent == 0


@pytest.mark.parametrize(
    ("files", "profile", "why"),
    [
        (lambda: modelkit.tiny(table=lambda *_: 9), {}, "sends token 0 to expert 9"),
        (
            modelkit.tiny,
            {"speculative": '{"method": "deepseek_mtp", "num_speculative_tokens": 2}'},
            "it has none",
        ),
        (
            lambda: modelkit.tiny(more={"model-00001-of-00003.safetensors": None}),
            {},
            "is not there, and the index names it",
        ),
    ],
)
def test_a_model_with_other_weights_is_refused_whole(bench, files, profile, why):
    bench.holds(files(), **profile)
    for _ in range(2):
        code, _, err = bench.run()
        assert code == ModelError.exit_code
        assert why in err
    assert bench.there() == bench.files, "it is the revision: nothing is fetched again"


def test_a_model_of_another_size_is_refused_before_anything_is_fetched(bench):
    bench.profile = modelkit.profile(bench.tmp_path, bench.size * 2)
    code, _, err = bench.run()
    assert code == ModelError.exit_code
    assert "not of the size" in err
    assert bench.hub.paths("resolve") == []


def test_a_count_of_experts_that_a_target_cannot_route(bench):
    bench.profile = modelkit.profile(bench.tmp_path, bench.size, targets='"v0.32", "tiny", "g27"')
    code, _, err = bench.run()
    assert code == ModelError.exit_code
    assert "tiny: vLLM's fused router has no code for 6 experts" in err
    assert "v0.32:" not in err
    assert "g27:" not in err
    assert bench.hub.asked == []
    bench.profile = modelkit.profile(bench.tmp_path, bench.size, targets='"none"')
    assert bench.run()[0] == UnknownTargetError.exit_code


def test_our_own_profiles_are_for_targets_that_route_them(tmp_path):
    settings = settings_of(tmp_path)
    for name in ("k144-nospec-200k", "k160-mtp2-200k"):
        profile = modelready.chosen(settings, name)
        modelready.require_routable(settings, profile)
        where = modelready.place(settings, profile, None)
        assert where.folder.parent == tmp_path / "store" / "models"
        assert where.wanted.mtp == ("mtp" in name)


# as a process


@pytest.fixture
def start(bench, tmp_path):
    """Start the command as a person does, with a home of its own; everything in it is waited for."""
    started = []

    def begin(*options, **env):
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "SPARK_"))}
        home = tmp_path / "home"
        home.mkdir(exist_ok=True)
        child = subprocess.Popen(
            [sys.executable, "-m", "build", *bench.argv(*options)], cwd=REPO,
            env={
                **clean, "HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache"), "HF_ENDPOINT": bench.hub.url,
                "PYTHONDONTWRITEBYTECODE": "1", **env,
            },
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(child)
        return child

    yield begin
    for child in started:
        child.kill()
        child.communicate()


def wait_for(question, seconds=20):
    end = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.01)


def test_killed_and_interrupted_in_the_middle_it_goes_on(bench, start, tmp_path):
    """Real processes: SIGKILL, then Ctrl-C, then to the end. Nothing is written but the model, in no home."""
    size = 32_000_000
    bench.holds(modelkit.tiny(more={"extra.bin": bytes(size)}))
    slow = bench.hub.fault("GET", "extra.bin", pace=0.002, times=hubkit.ALWAYS, cdn=True)

    def came():
        with contextlib.suppress(FileNotFoundError):
            return bench.part("extra.bin").stat().st_size
        return 0

    child = start(HF_TOKEN=SECRET, AI_AGENT="x")
    wait_for(lambda: came() >= 10_000_000)
    child.kill()
    child.communicate()
    first = came()
    child = start()
    wait_for(lambda: came() > first)
    slow.pace = 8  # from here on nothing comes any more
    pressed = time.monotonic()
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=20)
    assert (child.returncode, out) == (130, ""), err
    assert "interrupted; what was finished is kept" in err
    assert "Traceback" not in err
    assert time.monotonic() - pressed < 5, "Ctrl-C waits for no download"
    second = came()
    assert second > first
    assert not bench.state()["whole"]
    slow.pace = 0
    bench.hub.asked.clear()
    child = start("--json")
    out, err = child.communicate(timeout=30)
    assert child.returncode == 0, err
    asked = [one for one in bench.hub.asked if one.cdn and "extra" in one.path]
    assert [one.headers["range"] for one in asked] == [f"bytes={second}-"]
    assert json.loads(out)["fetched_bytes"] <= size - second + 100_000
    assert bench.there() == bench.files
    assert list((tmp_path / "home").rglob("*")) == [], "nothing of the library's is in a home"
    assert {path.name for path in tmp_path.iterdir()} == {"home", "models", "tiny.toml"}
    assert {path.name for path in (bench.folder / modelfolder.OURS).iterdir()} == {"model.json", "locks"}
    assert bench.hub.paths("agent") == [], "no telemetry"


def test_two_runs_at_once_bring_it_once(bench, start):
    gate = threading.Event()
    bench.hub.fault("GET", "model-00002", before=lambda: gate.wait(30), cdn=True)
    one = start(HF_HUB_DOWNLOAD_TIMEOUT="60")
    wait_for(lambda: bench.hub.paths("model-00002"))
    two = start()
    assert "held by process" in two.stderr.readline()
    gate.set()
    ends = [child.communicate(timeout=30) for child in (one, two)]
    assert [one.returncode, two.returncode] == [0, 0], ends
    assert len([asked for asked in bench.hub.asked if asked.cdn]) == 3
