"""What is made of diffoscope's exit status and words; the real one runs in tests/engine/test_diffoscope.py."""

import pytest

from build import diffoscope, proc


@pytest.fixture
def ending(monkeypatch, tmp_path):
    """Explain two files by a diffoscope that ends as told."""

    def ending(status, out="", err=""):
        seen = []
        done = proc.Completed(argv=(), returncode=status, stdout=out, stderr=err)
        monkeypatch.setattr(proc, "run", lambda argv, **_: seen.append(argv) or done)
        monkeypatch.setattr(proc, "as_root", lambda argv, **_: list(argv))
        told = diffoscope.explain(tmp_path / "root", tmp_path, ("a.py", "b.py"), ("A: x.py", "B: x.py"))
        (argv,) = seen
        assert argv[-2:] == ["/mnt/a.py", "/mnt/b.py"]
        assert f"--bind={tmp_path}:/mnt" in argv
        return told

    return ending


def test_a_report_names_the_files_as_the_image_does(ending):
    told = ending(1, "--- /mnt/a.py\n+++ /mnt/b.py\n@@ -1 +1 @@\n-a\n+b\n")
    assert told.text == "--- A: x.py\n+++ B: x.py\n@@ -1 +1 @@\n-a\n+b\n"
    assert told.note == ""


@pytest.mark.parametrize(
    ("status", "out", "err", "note"),
    [
        (124, "", "", "took longer than 120 s"),
        (1, "", "jail: python3 in /r: Operation not permitted", "Operation not permitted"),
        (2, "", "Traceback\nOSError: x", "ended with 2: OSError: x"),
        (137, "", "", "ended with 137"),
        (0, "", "", "it saw no difference"),
    ],
)
def test_what_is_no_report_is_a_note(ending, status, out, err, note):
    told = ending(status, out, err)
    assert told.text == ""
    assert note in told.note
