"""The index: real uv against a real index on loopback, in good order and in trouble."""

import ssl
import subprocess
import tomllib

import pytest

from build import index, wheeltags
from build.errors import NetworkError, ResolveError, UsageError
from build.index import Environment
from tests import indexkit

GB10 = Environment(platform="aarch64-manylinux_2_39", python="3.13")
WHEEL = {
    "url": "https://u:p@index.example/a%2Bb-1-py3-none-any.whl?x=1#y",
    "size": 3,
    "hashes": {"sha256": "ab"},
}
LATER = "2026-06-01T00:00:00Z"


@pytest.fixture
def served(monkeypatch, tmp_path):
    """An index, and a uv that knows no other."""
    with indexkit.serve() as index:
        for name, value in indexkit.environment(index, tmp_path).items():
            monkeypatch.setenv(name, value)
        yield index


def resolve(*requirements, constraints=(), **more):
    return {item.name: item for item in index.resolve(requirements, constraints, GB10, **more)}


def versions(*requirements, **more):
    return {name: item.version for name, item in resolve(*requirements, **more).items()}


def refused(kind, *requirements, **more):
    """The error of a resolution that fails, as a person reads it: no traceback, no secret, not a page long."""
    with pytest.raises(kind) as caught:
        resolve(*requirements, **more)
    said = str(caught.value)
    assert "Traceback" not in said
    assert "secret" not in said
    assert len(said.splitlines()) < 16
    assert caught.value.todo
    return said


# --- what is made of answers ---------------------------------------------------------------------------------------


def test_a_file_is_what_a_lock_keeps_of_it():
    found = index._file({"name": "a", "version": "1"}, WHEEL, sdist=False)
    assert (found.file, found.size, found.sha256, found.uploaded) == ("a+b-1-py3-none-any.whl", 3, "ab", 0)


def test_a_file_name_has_no_folder_in_it_however_the_address_is_written():
    found = index._file(
        {"name": "a", "version": "1"}, {**WHEEL, "url": "https://x/p/..%2F..%2Fa-1-py3-none-any.whl"}, sdist=False
    )
    assert found.file == "a-1-py3-none-any.whl"


def test_preferences_are_a_pylock():
    said = tomllib.loads(index._preferences([("torch", "2.13.0")]))
    assert said["packages"] == [{"name": "torch", "version": "2.13.0"}]
    assert index._preferences([]) == ""


def test_what_is_found_is_what_the_index_tells(served):
    kept = served.add("a", "1.0", requires=["b>=2; platform_machine == 'aarch64'", "c; sys_platform == 'win32'"])
    served.add("b", "2")
    found = resolve("a")
    assert set(found) == {"a", "b"}
    assert (found["a"].file, found["a"].sha256, found["a"].size) == (kept.name, kept.sha256, len(kept.data))
    assert found["a"].uploaded == 1767225600
    assert found["a"].url == served.address(kept)


def test_the_best_wheel_is_taken_in_whatever_order_they_are_listed(served):
    tags = [
        "py3-none-any", "cp312-abi3-manylinux_2_28_aarch64", "cp313-none-manylinux_2_39_aarch64",
        "cp313-cp313-manylinux_2_17_aarch64", "cp313-cp313-manylinux2014_aarch64.manylinux_2_17_aarch64",
        "cp313-cp313-manylinux_2_28_aarch64", "cp313-cp313-manylinux_2_40_aarch64", "cp313-cp313-manylinux_2_28_x86_64",
        "cp314-cp314-manylinux_2_28_aarch64", "cp313-cp313-musllinux_1_2_aarch64",
    ]  # fmt: skip
    for tag in tags:
        served.add("a", "1", tags=tag)
    assert resolve("a")["a"].file == "a-1-cp313-cp313-manylinux_2_28_aarch64.whl"


def test_a_wheel_that_is_held_stays_though_a_better_one_came(served):
    plain, old = (served.add("a", version) for version in ("2", "1"))
    better = served.add("a", "2", tags="cp313-cp313-manylinux_2_28_aarch64")
    assert resolve("a")["a"].file == better.name
    assert resolve("a", hold={plain.sha256, old.sha256})["a"].file == plain.name
    assert versions("a", hold={old.sha256}) == {"a": "2"}


def test_ranks_of_tags():
    ranks = wheeltags.ranks("aarch64-manylinux_2_39", "3.13")
    order = [
        "a-1-2-cp313-cp313-manylinux_2_39_aarch64.whl", "a-1-cp313-cp313-manylinux_2_39_aarch64.whl",
        "a-1-cp313-cp313-manylinux2014_aarch64.whl", "a-1-cp313-cp313-linux_aarch64.whl",
        "a-1-cp313-abi3-manylinux_2_39_aarch64.whl", "a-1-cp313-none-manylinux_2_39_aarch64.whl",
        "a-1-cp32-abi3-manylinux_2_39_aarch64.whl", "a-1-py3-none-manylinux_2_17_aarch64.whl",
        "a-1-cp313-none-any.whl", "a-1-py3-none-any.whl", "a-1-cp313-cp313t-manylinux_2_39_aarch64.whl",
    ]  # fmt: skip
    assert sorted(set(order), key=lambda file: wheeltags.rank(file, ranks)) == order
    intel = wheeltags.ranks("x86_64-manylinux_2_39", "3.13")
    assert wheeltags.rank("a-1-py3-none-manylinux1_x86_64.whl", intel)[0] < len(intel)


def test_a_platform_that_is_none():
    with pytest.raises(ResolveError, match="windows"):
        wheeltags.ranks("windows", "3.13")


# --- overrides, preferences, and the index as it stood -------------------------------------------------------------


def test_an_override_replaces_what_a_wheel_asks_for(served):
    served.add("a", "1", requires=["b==1"])
    for version in "123":
        served.add("b", version)
    assert versions("a") == {"a": "1", "b": "1"}
    assert versions("a", overrides=["b==3"]) == {"a": "1", "b": "3"}


def test_a_preference_is_kept_where_the_requirements_allow_it(served):
    for version in "123":
        served.add("a", version)
    assert versions("a", prefer=[("a", "2")]) == {"a": "2"}
    assert versions("a>2", prefer=[("a", "2")]) == {"a": "3"}


def test_the_user_s_environment_does_not_decide_what_is_resolved(served, monkeypatch, tmp_path):
    (tmp_path / "more.txt").write_text("a<2\n")
    monkeypatch.setenv("UV_CONSTRAINT", str(tmp_path / "more.txt"))
    monkeypatch.setenv("UV_EXCLUDE_NEWER", "2020-01-01")
    for version in "12":
        served.add("a", version)
    assert versions("a") == {"a": "2"}


def test_a_day_counts_to_its_end_and_a_time_is_exact(served):
    served.add("a", "1")
    served.add("a", "2", uploaded="2026-03-01T23:59:59Z")
    served.add("a", "3", uploaded="2026-03-02T00:00:00Z")
    assert versions("a", as_of="2026-03-01") == {"a": "2"}
    assert versions("a", as_of="2026-03-01T12:00:00Z") == {"a": "1"}
    assert versions("a", as_of="2026-03-02T02:00:01+02:00") == {"a": "3"}


def test_before_anything_was_there(served):
    served.add("a", "1")
    assert "2020-01-02" in refused(ResolveError, "a", as_of="2020-01-01")


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "2026-03-01T12:00:00", "9999-12-31", "20260301", "3 days"])
def test_what_is_no_date(text):
    with pytest.raises(UsageError, match="is no date"):
        index.instant(text)


@pytest.mark.parametrize("speaks_json", [True, False])
def test_an_index_without_times_cannot_tell_what_stood_there(served, speaks_json):
    served.speaks_json, served.tells_time = speaks_json, False
    served.add("a", "1")
    said = refused(ResolveError, "a", as_of="2026-03-01")
    assert "cannot tell what stood there" in said
    assert "a-1-py3-none-any.whl" in said


def test_one_file_without_a_time_is_not_passed_over(served):
    served.add("a", "1")
    served.add("a", "2", uploaded=None)
    assert versions("a==1") == {"a": "1"}
    assert "a-2-py3-none-any.whl" in refused(ResolveError, "a", as_of="2026-03-01")


@pytest.mark.parametrize(("lacks", "speaks_json"), [("size", True), ("time", True), ("both", False)])
def test_an_index_that_tells_too_little_is_named_for_a_lock(served, lacks, speaks_json):
    served.tells_size, served.tells_time, served.speaks_json = lacks != "size", lacks != "time", speaks_json
    kept = served.add("a", "1")
    assert "does not tell size, sha256 and upload time of a-1" in refused(ResolveError, "a")
    assert index.locate([("a", "1")], GB10)[kept.sha256].url == served.address(kept)


def test_locate_finds_exact_releases_whenever_they_were_uploaded(served, monkeypatch):
    monkeypatch.setenv("UV_EXCLUDE_NEWER", "2020-01-01")
    kept = [served.add("a", "1", tags=tag) for tag in ("py3-none-any", "cp313-cp313-manylinux_2_28_aarch64")]
    served.add("a", "2", requires=["nothing-has-it"])
    assert set(index.locate([("a", "1")], GB10)) == {file.sha256 for file in kept}
    assert index.locate([], GB10) == {}


# --- trouble -------------------------------------------------------------------------------------------------------


def test_a_package_that_the_index_does_not_know(served):
    served.add("a", "1", requires=["b>2"])
    said = refused(ResolveError, "a")
    assert "does not know b" in said
    assert "all versions of a depend on b>2" in said


def test_an_index_that_is_none(served):
    served.fault = "404"
    said = refused(ResolveError, "a")
    assert "does not know a" in said
    assert "UV_DEFAULT_INDEX" in said


@pytest.mark.parametrize(
    ("fault", "seen", "todo"),
    [
        ("500", "500 Internal Server Error", "try again later"),
        ("hang", "timed out", "UV_HTTP_TIMEOUT"),
        ("cut", "end of file", "check the network"),
    ],
)
def test_an_index_in_trouble_is_no_fault_of_the_target(served, fault, seen, todo):
    served.add("a", "1")
    served.fault = fault
    said = refused(NetworkError, "a")
    assert seen in said
    assert todo in said
    served.fault, served.file_fault = "", fault
    if fault != "cut":  # uv takes a wheel that was cut for a bad one
        assert seen in refused(NetworkError, "a")


def test_a_file_that_the_index_lists_and_does_not_have(served):
    served.add("a", "1")
    served.file_fault = "404"
    assert "404" in refused(NetworkError, "a")


def test_a_page_that_asks_for_a_sign_in(served):
    served.add("a", "1")
    served.fault = "login"
    said = refused(ResolveError, "a")
    assert "lists no file of a" in said
    assert "sign-in" in said
    served.fault, served.file_fault = "", "login"
    assert "something else than a wheel" in refused(ResolveError, "a")


@pytest.mark.parametrize("fault", ["401", "403", "500"])
def test_credentials_are_not_shown(served, fault, monkeypatch):
    monkeypatch.setenv("UV_DEFAULT_INDEX", served.url.replace("//", "//me:secret@"))
    served.add("a", "1")
    assert set(resolve("a")) == {"a"}
    served.fault = fault
    assert fault in refused((ResolveError, NetworkError), "a")


def test_nobody_listens(served, monkeypatch):
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    said = refused(NetworkError, "a")
    assert "refused" in said
    assert "UV_DEFAULT_INDEX" in said


@pytest.mark.programs("openssl")
def test_a_certificate_that_nobody_signed(served, monkeypatch, tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    with indexkit.serve(context) as secured:
        secured.add("a", "1")
        monkeypatch.setenv("UV_DEFAULT_INDEX", secured.url)
        assert "SSL_CERT_FILE" in refused(NetworkError, "a")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert set(resolve("a")) == {"a"}


def test_an_index_that_drips_is_not_waited_for(served, monkeypatch):
    served.fault = "hang"
    monkeypatch.setenv("UV_HTTP_TIMEOUT", "60")
    monkeypatch.setattr(index, "LIMIT_SECONDS", 0.5)
    assert "took too long" in refused(NetworkError, "a")


# --- nothing fits --------------------------------------------------------------------------------------------------


def test_two_packages_that_cannot_be_had_together(served):
    served.add("vllm", "0.22.0", requires=["torch==2.11.0"])
    for version in ("2.11.0", "2.13.0"):
        served.add("torch", version)
    said = refused(ResolveError, "vllm", "torch==2.13.0")
    assert "all versions of vllm depend on torch==2.11.0" in said
    assert "because you require torch==2.13.0" in said
    assert "left out" not in said


def test_a_long_explanation_is_cut_to_what_decides(served):
    for number in range(30):
        served.add("m", str(number), requires=[f"n=={number}"])
        served.add("n", str(number))
    said = refused(ResolveError, "m>5", "n<3")
    assert "because you require m>5 and n<3, we can conclude that your requirements are unsatisfiable" in said
    assert "lines of uv's explanation are left out; -v shows them" in said
    with pytest.raises(ResolveError) as caught:
        resolve("m>5", "n<3", verbose=True)
    assert len(caught.value.why.splitlines()) > 100


def test_an_index_that_lags(served):
    for version, bound in (("0.32.0", "2026.10.1"), ("0.33.0", "2026.10.19")):
        served.add("vllm", version, requires=[f"certifi>={bound}"])
    for version in ("2026.10.1", "2026.10.18"):
        served.add("certifi", version)
    said = refused(ResolveError, "vllm==0.33.0")
    assert "only certifi<=2026.10.18 is available and vllm>=0.33.0 depends on certifi>=2026.10.19" in said
    assert "your index lags" in said


@pytest.mark.parametrize(
    ("tags", "headers", "seen"),
    [
        ("cp313-cp313-win_amd64", (), "win_amd64"),
        ("cp312-cp312-manylinux_2_28_aarch64", (), "cp312"),
        ("py3-none-any", ("Requires-Python: >=3.14",), "Python >=3.14"),
    ],
)
def test_a_release_that_is_not_for_us(served, tags, headers, seen):
    served.add("a", "1", tags=tags, headers=headers)
    assert seen in refused(ResolveError, "a")


def test_a_source_archive_is_never_built(served):
    served.files["a"] = [indexkit.File(name="a-1.tar.gz", data=b"x", uploaded=indexkit.LONG_AGO, metadata=b"")]
    assert "building from source is disabled" in refused(ResolveError, "a")


def test_a_requirement_that_is_none(served):
    said = refused(ResolveError, "a=1")
    assert "requirements.txt" in said
    assert "no such comparison operator" in said
