import io
import json
import tarfile
from types import SimpleNamespace

import pytest

from build import reference, smoke
from build.commands import smoke as command
from build.errors import SmokeError


def client(*pieces):
    """What a client's attach gives: pairs of bytes from standard output and standard error."""
    return SimpleNamespace(api=SimpleNamespace(attach=lambda *_, **__: iter(pieces)))


def test_events_come_whole_from_broken_pieces_and_the_rest_is_logged():
    log = io.BytesIO()
    pieces = [(b'{"event": "be', None), (None, b"a warning\n"), (b'gin"}\nnoise\n{"event": "done"}\nlast', None)]
    events = list(smoke._events(client(*pieces), SimpleNamespace(id="x"), log))
    assert [event["event"] for event in events] == ["begin", "done"]
    assert log.getvalue() == b"a warning\nnoise\nlast"


def test_json_that_is_no_event_is_logged():
    log = io.BytesIO()
    pieces = [(b'{"event": "done"}\n17\n[]\n{"a": 1}\n', None)]
    assert len(list(smoke._events(client(*pieces), SimpleNamespace(id="x"), log))) == 1
    assert log.getvalue() == b'17\n[]\n{"a": 1}\n'


def test_the_luggage_is_readable_by_any_user(tmp_path):
    (tmp_path / "checks").mkdir()
    (tmp_path / "checks" / "a.py").write_text("a = 1\n")
    (tmp_path / "uv").write_bytes(b"binary")
    packed = smoke._tar(smoke.Luggage(uv=tmp_path / "uv", checks=tmp_path / "checks"))
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        modes = {entry.name: oct(entry.mode) for entry in archive}
    assert modes == {"uv": "0o755", "checks/a.py": "0o644"}


@pytest.mark.parametrize(
    ("info", "wanted", "driver"),
    [
        ({}, False, None),
        ({"Runtimes": {"runc": {}}}, False, None),
        ({"Runtimes": {"nvidia": {}}}, False, ""),
        ({}, True, ""),
        ({"DiscoveredDevices": [{"Source": "cdi", "ID": "nvidia.com/gpu=0"}]}, False, "cdi"),
    ],
)
def test_a_gpu_is_handed_over_where_the_engine_has_one_or_where_it_is_required(info, wanted, driver):
    requests = smoke._gpus(SimpleNamespace(info=lambda: info), wanted=wanted)
    assert [request["Driver"] for request in requests] == ([] if driver is None else [driver])


def image(platform="linux/arm64", target="tiny"):
    return reference.Image(
        name="i", digest="sha256:" + "a" * 64, platform=platform, target=target, chain_id="", series_id="", user=""
    )


def test_an_image_for_another_platform_fails_before_anything_of_it_runs():
    assert command._platform(image()).status == "passed"
    wrong = command._platform(image("linux/amd64"))
    assert (wrong.status, wrong.reason) == ("failed", "it is for linux/amd64, not linux/arm64")


def test_the_listener_shows_each_check_as_it_ends(capsys):
    heard = command.Listener(started=0.0)
    heard({"event": "plan", "set": "tiny", "checks": ["elf", "record"]})
    heard({"event": "begin", "name": "elf"})
    heard(json.loads('{"event": "end", "name": "elf", "status": "failed", "reason": "why", "seconds": 2,'
                     ' "evidence": {}, "findings": [], "excepted": []}'))  # fmt: skip
    shown = capsys.readouterr().err
    assert "2 checks of the set 'tiny'" in shown
    assert "✗ elf (2.0 s): why" in shown
    assert [check.name for check in heard.ended] == ["elf"]


def test_a_failed_check_is_an_error_after_the_reports_are_written(tmp_path, capsys):
    settings = SimpleNamespace(json=True)
    failed = command._platform(image("linux/amd64"))
    made = command.Report(
        image="i", digest="d", platform="linux/amd64", target="", chain_id="", series_id="", foreign=True,
        checks_set="", execution="native", engine="e", gpu_required=False, started="t", seconds=0.0, checks=(failed,),
    )  # fmt: skip
    with pytest.raises(SmokeError, match="1 of 1 checks of i failed") as caught:
        command.tell(settings, made, tmp_path, "stem")
    assert "linux/amd64" in caught.value.why
    assert json.loads(capsys.readouterr().out) == json.loads((tmp_path / "stem.json").read_text())
    assert (tmp_path / "stem.xml").exists()


def test_a_foreign_image_needs_no_uv():
    assert command.arm64_uv(SimpleNamespace(repo=None), image(target="")) is None
