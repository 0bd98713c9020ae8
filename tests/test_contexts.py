"""Contexts: exactly what is asked for, changed as little as possible."""

from build.contexts import changes, sync


def test_a_context_holds_exactly_its_entries(tmp_path):
    blob = tmp_path / "blob"
    blob.write_bytes(b"wheel")
    folder = tmp_path / "context"
    assert sync(folder, {"a/Dockerfile": b"FROM scratch\n", "w.whl": blob}) == 2
    assert (folder / "w.whl").stat().st_ino == blob.stat().st_ino
    assert sync(folder, {"w.whl": blob}) == 1
    assert [path.name for path in folder.iterdir()] == ["w.whl"]


def test_what_is_there_is_not_written_again(tmp_path):
    entries = {"Dockerfile": b"FROM scratch\n"}
    sync(tmp_path / "c", entries)
    before = (tmp_path / "c" / "Dockerfile").stat().st_mtime_ns
    assert changes(tmp_path / "c", entries) == ()
    assert sync(tmp_path / "c", entries) == 0
    assert (tmp_path / "c" / "Dockerfile").stat().st_mtime_ns == before
    assert changes(tmp_path / "c", {"Dockerfile": b"FROM x\n"}) == ("Dockerfile",)


def test_another_file_of_the_same_name_is_a_change(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(b"same")
    sync(tmp_path / "c", {"w.whl": tmp_path / "one"})
    assert changes(tmp_path / "c", {"w.whl": tmp_path / "two"}) == ("w.whl",)
