"""dockerfiles/lane/compiled.py and what patched.py makes of it: libraries at their places, in a RECORD that is true."""

import csv
import io
import json
import os
import sys
import zipfile

import pytest

from build import determinism
from build.settings import REPO
from tests import indexkit

sys.path.insert(0, str(REPO / "dockerfiles" / "image"))

from checks import records
from checks.events import Context

FILES = {"app/_C.abi3.so": b"\x7fELF one", "app/deep/er/_D.so": b"\x7fELF two", "app/deep/er/d.py": b"d = 1\n"}
FIGURES = {path: {"bytes": len(data)} for path, data in FILES.items()}
INSTALLED = {"app/__init__.py": b"", "app/code.py": b"x = 1\n"}


@pytest.fixture
def lane(monkeypatch, tmp_path):
    """The modules, the image's /opt being a folder of the test; ``lane.site``: its site-packages."""
    monkeypatch.syspath_prepend(str(REPO / "dockerfiles" / "lane"))
    for name, value in determinism.step_arguments().items():
        monkeypatch.setenv(name, value)
    import compiled
    import layer
    import patched

    root = tmp_path / "opt"
    monkeypatch.setattr(layer, "ROOT", root)
    monkeypatch.setattr(layer, "VENV", root / "venv")
    for module in (layer, compiled, patched):
        monkeypatch.setattr(module, "COMPILED", root / "spark" / "compiled.json")
    monkeypatch.setattr(patched, "RELEASED", root / "spark" / "released")
    compiled.site = layer.site_packages("3.13")
    compiled.site.mkdir(parents=True)
    yield compiled
    for name in ("compiled", "patched", "layer"):
        monkeypatch.delitem(sys.modules, name)


@pytest.fixture
def made(tmp_path):
    """What the native step left."""
    folder = tmp_path / "native"
    put(folder / "files", FILES)
    (folder / "files" / "app" / "_C.abi3.so").chmod(0o755)
    (folder / "native.json").write_text(json.dumps(FIGURES))
    return folder


def put(folder, files):
    for path, data in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)


def there(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- the layer -----------------------------------------------------------------------------------------------------


def test_libraries_are_at_their_places_and_the_image_keeps_their_figures(lane, made):
    put(lane.site, INSTALLED)
    lane.main(made, "3.13")
    assert there(lane.site) == FILES | INSTALLED
    assert json.loads(lane.COMPILED.read_text()) == FIGURES


def test_what_was_added_has_one_mode_and_one_time_and_nothing_else_is_touched(lane, made):
    put(lane.site, INSTALLED)
    for path in INSTALLED:
        (lane.site / path).chmod(0o600)
        os.utime(lane.site / path, (7, 7))
    lane.main(made, "3.13")
    for place in (*(lane.site / path for path in FILES), lane.COMPILED):
        found = place.stat()
        assert (found.st_mode & 0o777, int(found.st_mtime)) == (0o644, determinism.LAYER_TIME), place
    for folder in (lane.site / "app", lane.site / "app/deep/er", lane.site, lane.COMPILED.parent):
        assert int(folder.stat().st_mtime) == determinism.LAYER_TIME, folder
    for path in INSTALLED:
        found = (lane.site / path).stat()
        assert (found.st_mode & 0o777, int(found.st_mtime)) == (0o600, 7), path


def test_one_that_a_wheel_installed_is_not_written_over(lane, made):
    put(lane.site, {**INSTALLED, "app/deep/er/_D.so": b"of a wheel"})
    with pytest.raises(SystemExit, match=r"app/deep/er/_D\.so is there already, from a wheel"):
        lane.main(made, "3.13")
    assert (lane.site / "app/deep/er/_D.so").read_bytes() == b"of a wheel"
    assert not lane.COMPILED.exists()


# --- the distribution tells of them --------------------------------------------------------------------------------


@pytest.fixture
def image(lane, made, monkeypatch, tmp_path):
    """An image with `app`, to the point where patched.py comes: its wheel, and the layer of what was compiled."""
    import patched

    _, data, _ = indexkit.wheel("app", "1.0", requires=["dep==1.0"], files=INSTALLED)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in archive.namelist():
            folder = tmp_path / "opt/spark/released/app" if ".dist-info/" in name else lane.site / os.path.dirname(name)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / os.path.basename(name)).write_bytes(archive.read(name))
    lane.main(made, "3.13")
    monkeypatch.setattr(records.sysconfig, "get_path", lambda name: str(lane.site))
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "opt" / "venv"))
    return Image(lane, patched, tmp_path)


class Image:
    def __init__(self, lane, module, folder):
        self.lane, self.module, self.folder = lane, module, folder

    def patch(self, *, compiled, **files):
        said = {"paths": sorted(files), "requires": [], "compiled": compiled}
        put(self.folder / "patched" / "files", files)
        put(self.folder / "patched", {"patched.json": json.dumps(said).encode()})
        self.module.main(self.folder / "patched", "app", "3.13", "spark")

    def rows(self):
        (info,) = self.lane.site.glob("*.dist-info")
        assert info.name == "app-1.0+spark.dist-info"
        return {row[0]: row[1:] for row in csv.reader(io.StringIO((info / "RECORD").read_text()))}

    def findings(self):
        """What the image's own check of every RECORD says."""
        return records.check_record(Context(manifest={}, scratch=self.folder)).findings


def test_the_record_of_what_was_compiled_is_true(image):
    image.patch(compiled=True, **{"app/code.py": b"x = 2\n", "app/new.py": b"y = 1\n"})
    rows = image.rows()
    assert {*FILES, *INSTALLED, "app/new.py"} <= rows.keys()
    assert rows["app/_C.abi3.so"][1] == str(len(FILES["app/_C.abi3.so"]))
    assert image.findings() == []
    (image.lane.site / "app/_C.abi3.so").write_bytes(b"\x7fELF 1ne")
    assert any("_C.abi3.so (app-1.0+spark.dist-info) is not as in its RECORD" in text for text in image.findings())


def test_a_series_without_a_patched_file_changes_the_record_all_the_same(image):
    image.patch(compiled=True)
    assert FILES.keys() <= image.rows().keys()
    assert image.findings() == []


def test_another_distribution_says_nothing_of_them(image):
    image.patch(compiled=False, **{"app/code.py": b"x = 2\n"})
    assert not FILES.keys() & image.rows().keys()
    assert len([text for text in image.findings() if "belongs to no distribution" in text]) == len(FILES)


def test_libraries_of_the_layer_below_are_not_copied_into_the_layer_of_the_series(image):
    """Touching a file is copying it: a patch of Python files would bring gigabytes along."""
    library = image.lane.site / "app/_C.abi3.so"
    os.utime(library, (7, 7))
    library.chmod(0o640)
    image.patch(compiled=True)
    found = library.stat()
    assert (found.st_mode & 0o777, int(found.st_mtime)) == (0o640, 7)


def test_without_a_layer_of_libraries_there_is_nothing_to_tell_of(image):
    image.lane.COMPILED.unlink()
    with pytest.raises(FileNotFoundError, match=r"compiled\.json"):
        image.patch(compiled=True)
