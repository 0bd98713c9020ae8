"""How differences are told: the one line, the outline and its bounds."""

from build import diffreport
from build.diffreport import Explanation, Report
from build.imagediff import ONLY_B, Change, Fact, ImageDiff, LayerDiff
from build.layertar import Entry
from build.ociimage import Image, Layer
from build.ocisource import Folder


def entry(path, kind="file"):
    return Entry(
        number=0, path=path, kind=kind, mode=0o644, owner="0:0", mtime="0", size=0, link="", sha256="", extra=(), head=b""
    )  # fmt: skip


def change(path, *names, package="pkg", kind="file"):
    facts = tuple(Fact(name=name, a="old", b="new") for name in names)
    return Change(path=path, package=package, facts=facts, a=entry(path, kind), b=entry(path, kind))


LAYER = Layer(number=2, name="other", diff_id="sha256:a", digest="sha256:b", size=1)


def diff(*changes, **more):
    image = Image(name="x", manifest="", layers=(LAYER, LAYER), source=Folder("."))
    layers = (
        (LayerDiff(a=LAYER, b=LAYER, changes=changes, form=more.pop("form", "")),) if changes or "form" in more else ()
    )
    return ImageDiff(a=image, b=image, layers=layers, **more)


def told(report, files=2):
    return diffreport.plain(diffreport.outline(report, files=files)).splitlines()


def test_one_line_counts_layers_packages_and_files_and_names_what():
    assert diffreport.summary(diff(change("a", "content"))) == "1 of 2 layers differs: 1 package, 1 file: content"
    found = diff(change("a", "mode", "mtime"), change("b", "mtime", package="q"), change("c", "mtime", kind="folder"))
    assert diffreport.summary(found) == "1 of 2 layers differs: 2 packages, 2 files, 1 folder: mtime 3, mode 1"
    config = (Fact(name="config.Env", a="", b="x"),)
    assert diffreport.summary(diff(config=config)) == "config: config.Env"
    assert diffreport.summary(diff(form="another order")) == "1 of 2 layers differs"
    assert diffreport.summary(diff()) == "the same image, to the byte"


def test_other_contents_come_first_and_packages_that_change_most_last():
    many = [change(f"m{n}", "mtime", package="many") for n in range(3)]
    found = told(Report(diff=diff(*many, change("a", "mode", package="few"), change("z", "content", package="zz"))))
    assert [line.strip() for line in found] == [
        "layer 2 (other): 3 packages, 5 files: mtime 3, mode 1, content 1",
        "zz: 1 file: content", "z: content old → new",
        "few: 1 file: mode", "a: mode old → new",
        "many: 3 files: mtime", "m0: mtime old → new", "m1: mtime old → new", "and 1 file more (--all)",
    ]  # fmt: skip


def test_all_means_all():
    changes = [change(str(n), "mode", package=f"p{n}") for n in range(diffreport.PACKAGES + 3)]
    report = Report(diff=diff(*changes))
    assert told(report)[-1].strip() == "and 3 packages more (--all)"
    assert sum("mode old → new" in line for line in told(report, files=None)) == len(changes)


def test_what_diffoscope_said_stands_below_its_file():
    said = Explanation(lines=("--- A", "+++ B\x1b"), file="out/x.txt")
    found = told(Report(diff=diff(change("a", "content")), explanations={(0, "a"): said}))
    assert found[-3:] == ["      --- A", "      +++ B\\x1b", "      all of it: out/x.txt"]
    noted = Explanation(note="too big")
    assert told(Report(diff=diff(change("a", "content")), explanations={(0, "a"): noted}))[-1] == "      too big"


def test_what_is_only_in_one_says_its_kind_where_it_is_no_file():
    gone = Change(path="d", package="p", facts=(Fact(name=ONLY_B, a="", b="folder"),), a=None, b=entry("d", "folder"))
    assert told(Report(diff=diff(gone)))[-1].strip() == "d: only in B (folder)"


def test_versions_and_form_are_told():
    found = diff(change("a", "mode"), versions={"pkg": ("1", "2")}, form="another order")
    lines = told(Report(diff=found))
    assert lines[0] == "layer 2 (other): 1 package, 1 file: mode; another order"
    assert lines[1] == "  pkg 1 → 2: 1 file: mode"
