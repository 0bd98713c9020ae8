"""`validate` from its command line to its reports, against real servers on loopback."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from build.__main__ import main
from build.settings import REPO
from tests import openaikit


@pytest.fixture
def there():
    with openaikit.serve() as server:
        yield server


@pytest.fixture
def validate(there, tmp_path, capsys):
    """Run the command; its exit code, the report, what it printed on both streams."""

    def validate(*argv, url=there.url):
        status = main(["validate", "--url", url, "--output", str(tmp_path / "out"), "--timeout", "10", *argv])
        out, err = capsys.readouterr()
        written = sorted((tmp_path / "out").glob("*.json")) if (tmp_path / "out").exists() else []
        return status, json.loads(written[-1].read_text()) if written else None, out, err

    return validate


def statuses(report):
    return {case["name"]: case["status"] for case in report["cases"]}


def test_a_good_server_passes(validate, tmp_path):
    status, report, out, err = validate("--quick", "--skip", "religion,philosophy")
    assert status == 0
    assert (report["schema"], report["complete"], report["passed"]) == (1, True, True)
    assert report["subject"] == {
        "url": report["subject"]["url"], "model": "demo", "root": "/models/demo", "version": "0.32.0", "context": 16_384,
        "listed": ["demo"],
    }  # fmt: skip
    assert set(statuses(report).values()) == {"passed"}
    assert list(statuses(report))[-1] == "needle-512-50"
    assert "16 passed, 0 failed, 0 skipped" in out
    assert "prefill" in out
    assert "[1/16] smoke-model: The server lists the model" in err
    pages = list((tmp_path / "out").glob("demo-*.html"))
    assert len(pages) == 1
    assert "Validation of demo" in pages[0].read_text()
    assert not list((tmp_path / "out").glob("*.new"))


def test_json_is_the_report_alone(validate):
    _, report, out, _ = validate("--only", "smoke", "--json")
    assert json.loads(out) == {**report, "seconds": json.loads(out)["seconds"]}


def test_failures_are_73_and_named(validate, there):
    there.says("plain ASCII", "no drawing")
    there.fault("trolley", status=500)
    there.fault("free will", stall=2)
    status, report, _, err = validate("--only", "diagram,philosophy", "--timeout", "0.5")
    assert status == 73
    failed = {name for name, state in statuses(report).items() if state == "failed"}
    assert failed == {"diagram-ascii", "philosophy-trolley", "philosophy-free-will"}
    assert report["complete"]
    assert "error: 3 of 6 cases failed" in err
    assert "philosophy-trolley: server error: Error code: 500 - told to fail" in err
    assert "philosophy-free-will: stalled: after 2 pieces nothing came" in err
    assert "do:  the evidence is in" in err


def test_no_server_is_21(validate):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        status, report, _, err = validate(url=f"http://127.0.0.1:{taken.getsockname()[1]}")
    assert (status, report) == (21, None)
    assert "no server answers at http://127.0.0.1" in err


@pytest.mark.parametrize("fault", [{"silent": "all"}, {"html": True}, {"status": 500}])
def test_something_else_that_listens(validate, there, fault):
    there.fault(address="/models", **fault)
    status, report, _, _err = validate("--timeout", "0.3")
    assert (status, report) == (21 if "silent" in fault else 73, None)


def test_a_key_is_needed_and_never_shown(validate, there, monkeypatch, tmp_path):
    there.key = "sk-very-secret"
    status, _, _, err = validate("--only", "smoke")
    assert status == 73
    assert "OPENAI_API_KEY is not set" in err
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    there.says("PONG", "PONG sk-very-secret")
    status, _, out, err = validate("--only", "smoke")
    assert status == 73  # it said more than PONG
    assert "it says 'PONG ***'" in err
    pages = "".join(path.read_text() for path in (tmp_path / "out").iterdir())
    assert "PONG ***" in pages
    assert "sk-very-secret" not in pages + out + err


def test_a_key_that_is_taken_away_ends_the_run(validate, there):
    there.fault("17 times", status=401)
    status, report, _, err = validate("--only", "smoke,diagram")
    assert status == 73
    assert statuses(report)["smoke-thinking"] == "failed"
    assert {statuses(report)[name] for name in statuses(report) if name.startswith("diagram")} == {"skipped"}
    assert "the run stopped early" in err


def test_a_model_that_there_is_not(validate):
    status, report, _, err = validate("--model", "other", "--only", "smoke,code")
    assert status == 73
    assert statuses(report) == {
        "smoke-model": "failed", "smoke-whole": "failed", "smoke-stream": "skipped", "smoke-thinking": "skipped",
        "code-explanation": "skipped",
    }  # fmt: skip
    assert "the server lists demo, not other" in err
    assert "The model `other` does not exist" in err
    assert not report["complete"]


def test_a_server_that_dies_ends_the_run(validate, there):
    there.fault("Unicode box", die=True)
    status, report, _, err = validate("--only", "smoke,diagram,code")
    assert status == 73
    assert statuses(report)["diagram-ascii"] == "passed"
    assert statuses(report)["diagram-unicode"] == "failed"
    assert {statuses(report)[name] for name in ("diagram-flowchart", "diagram-sequence", "code-explanation")} == {
        "skipped"
    }
    assert report["ended"] == "the server died in diagram-unicode: it does not answer any more"
    assert "the server died in diagram-unicode" in err


def test_a_profile_stands_beside(validate, there, tmp_path):
    there.model, there.context = "DeepSeek-V4-Flash-Spark-Mini", 200_000
    status, report, out, _ = validate(
        "--profile", "k144-nospec-200k", "--only", "smoke,needle", "--lengths", "1k,2k", "--depths", "0,99.5"
    )
    assert status == 0
    assert [name for name in statuses(report) if "needle" in name] == [
        "needle-1000-0", "needle-1000-99.5", "needle-2000-0", "needle-2000-99.5",
    ]  # fmt: skip
    assert report["profile"]["measured"][0]["prefill_tokens_per_second"] == 538.958
    assert "345.834" in out
    page = next((tmp_path / "out").glob("*.html")).read_text()
    assert "345.834" in page
    assert "measured before, by the profile" in page


def test_a_users_own_profile_and_one_that_there_is_not(validate, tmp_path):
    status, *_, err = validate("--profile", "k144-nospec")
    assert status == 70
    assert "k144-nospec-200k" in err
    mine = tmp_path / "mine.toml"
    mine.write_text(
        (REPO / "lock/profiles/k144-nospec-200k.toml").read_text().replace("context = 200000", "context = 8000")
    )
    _, report, _, err = validate("--profile", str(mine), "--only", "smoke-model")
    assert report["subject"]["context"] == 8000
    assert "serves DeepSeek-V4-Flash-Spark-Mini, this is demo" in err


@pytest.mark.parametrize(
    ("argv", "what"),
    [
        (["--only", "tool"], "no case fits 'tool'"), (["--skip", "needle-5-5"], "no case fits"),
        (["--lengths", "10"], "is no length"), (["--lengths", "8x"], "is no length"), (["--depths", "101"], "is no depth"),
        (["--timeout", "0"], "is no number of seconds"), (["--timeout", "nan"], "is no number of seconds"),
    ],
)  # fmt: skip
def test_options_that_cannot_be_meant(validate, capsys, argv, what):
    try:
        status, *_, err = validate(*argv)
    except SystemExit as end:  # argparse's own
        status, err = end.code, capsys.readouterr().err
    assert status == 2
    assert what in err


def test_an_address_with_a_password_is_refused(validate):
    status, *_, err = validate(url="http://me:secret@127.0.0.1:1")
    assert status == 2
    assert "secret" not in err


def test_offline_means_this_machine_alone(validate):
    assert validate("--offline", url="http://spark.example:8000")[0] == 22
    assert validate("--offline", "--only", "smoke-model")[0] == 0


def test_ctrl_c_keeps_what_was_done(there, tmp_path):
    there.fault("box-drawing", silent="headers")
    child = subprocess.Popen(
        [sys.executable, "-m", "build", "validate", "--url", there.url, "--output", str(tmp_path), "--only", "smoke,diagram"],
        cwd=REPO, env={**os.environ, "COLUMNS": "140"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 20
    while not (there.asked and "box-drawing" in str(there.asked[-1])) and time.monotonic() < deadline:
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=20)
    assert child.returncode == 130, err
    report = json.loads(next(tmp_path.glob("*.json")).read_text())
    assert (report["complete"], report["passed"]) == (False, False)
    assert report["ended"] == "It was interrupted after 5 of 8 cases."
    assert set(statuses(report).values()) == {"passed"}
    assert "This run is not whole" in next(tmp_path.glob("*.html")).read_text()
    assert "5 passed" in out


def test_a_killed_run_leaves_a_report_that_says_so(there, tmp_path):
    there.fault("box-drawing", silent="headers")
    child = subprocess.Popen(
        [sys.executable, "-m", "build", "validate", "--url", there.url, "--output", str(tmp_path), "--only", "smoke,diagram"],
        cwd=REPO, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 20
    while not (there.asked and "box-drawing" in str(there.asked[-1])) and time.monotonic() < deadline:
        time.sleep(0.02)
    child.kill()
    child.wait()
    report = json.loads(next(tmp_path.glob("*.json")).read_text())
    assert len(report["cases"]) == 5
    assert not report["complete"]
    assert report["ended"] == "It is still running, or ended without a word."
