"""What lists of files a wheel and a .deb come to when they are installed."""

import base64
import hashlib
import io
import zipfile

import pytest

from build import lockedlists, records
from build.debclaims import digest_of
from tests import debkit
from tests.debkit import file, folder, link, tar_of

SCRIPT = b"#!python\n# text\nimport sys\n"


def recorded(data):
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def wheel(folder, files, **instead):
    """A wheel of distribution `a`; ``instead``: path with _ for / → what its row says."""
    rows = "".join(f"{path},{instead.get(path, recorded(data))},{len(data)}\n" for path, data in files.items())
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path, data in {**files, "a-1.dist-info/RECORD": f"{rows}a-1.dist-info/RECORD,,\n".encode()}.items():
            archive.writestr(path, data)
    path = folder / "a-1-py3-none-any.whl"
    path.write_bytes(out.getvalue())
    return path


FILES = {
    "a/x.py": b"x",
    "a/_vendor/b-1.dist-info/RECORD": b"inner",
    "a-1.data/scripts/run": SCRIPT,
    "a-1.data/scripts/native": b"\x7fELF",
    "a-1.data/purelib/a/y.py": b"y",
    "a-1.dist-info/entry_points.txt": b"[console_scripts]\ntool = a.cli:App.main\n",
}


def test_a_wheel_is_listed_as_uv_installs_it(tmp_path):
    rows = lockedlists.installed_rows(wheel(tmp_path, FILES))
    assert rows == {
        "a/x.py": sha256(b"x"),
        "a/_vendor/b-1.dist-info/RECORD": sha256(b"inner"),
        "a/y.py": sha256(b"y"),
        "../../../bin/run": sha256(b"#!/opt/venv/bin/python\n# text\nimport sys\n"),
        "../../../bin/native": sha256(b"\x7fELF"),
        "../../../bin/tool": sha256(lockedlists.program("a.cli:App.main").encode()),
        "a-1.dist-info/entry_points.txt": sha256(FILES["a-1.dist-info/entry_points.txt"]),
        "a-1.dist-info/RECORD": "",
    }


def test_a_program_is_uv_s():
    made = lockedlists.program("a.cli:App.main")
    assert made.startswith("#!/opt/venv/bin/python\n")
    assert "\nfrom a.cli import App\n" in made
    assert made.endswith("    sys.exit(App.main())\n")
    assert lockedlists.program("a.cli:main [extra]") == lockedlists.program("a.cli:main")


def test_the_digest_is_of_what_the_wheel_brings_and_nothing_else(tmp_path):
    path = wheel(tmp_path, FILES)
    rows = lockedlists.installed_rows(path)
    installed = {**rows, "a-1.dist-info/INSTALLER": "1", "a-1.dist-info/REQUESTED": "2"}
    assert lockedlists.of_wheel(path, ()) == records.digest_of(installed)
    less = {key: value for key, value in installed.items() if key != "a/x.py"}
    assert lockedlists.of_wheel(path, {"a/x.py"}) == records.digest_of(less) != lockedlists.of_wheel(path, ())
    for key in ("a/x.py", "a/_vendor/b-1.dist-info/RECORD", "../../../bin/tool"):
        assert records.digest_of({**installed, key: "other"}) != records.digest_of(installed)


def test_a_record_that_lies_is_found(tmp_path):
    assert lockedlists.contradictions(wheel(tmp_path, FILES)) == {}
    path = wheel(tmp_path, FILES, **{"a/x.py": recorded(b"other")})
    assert lockedlists.contradictions(path) == {"a/x.py": sha256(b"x")}


def deb(path, entries, compression, **control):
    suffix = f".{compression}" if compression else ""
    members = [
        ("debian-binary", b"2.0\n"),
        (f"control.tar{suffix}", tar_of([file(name, text) for name, text in control.items()], compression)),
        (f"data.tar{suffix}", tar_of(entries, compression)),
    ]
    out = b"!<arch>\n"
    for member, data in members:
        out += f"{member:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode()
        out += data + (b"\n" if len(data) % 2 else b"")
    path.write_bytes(out)
    return path


@pytest.mark.parametrize("compression", ["xz", "gz", ""])
def test_a_deb_is_listed_with_its_conffiles(tmp_path, compression):
    entries = [
        folder("."), folder("etc"), file("etc/x.conf", "conf"), folder("usr"), file("usr/a", "text"), link("usr/b", "a"),
    ]  # fmt: skip
    row = f"{hashlib.md5(b'text').hexdigest()}  usr/a\n"
    made = deb(tmp_path / "x.deb", entries, compression, control="Package: x\n", md5sums=row, conffiles="/etc/x.conf\n")
    md5 = {"usr/a": hashlib.md5(b"text").hexdigest(), "etc/x.conf": hashlib.md5(b"conf").hexdigest()}
    assert lockedlists.of_deb(made) == digest_of(["/.", "/etc", "/etc/x.conf", "/usr", "/usr/a", "/usr/b"], md5)


def test_a_conffile_that_goes_on_an_upgrade_is_none(tmp_path):
    made = deb(tmp_path / "x.deb", [folder("usr")], "xz", conffiles="remove-on-upgrade /etc/x.conf\n")
    assert lockedlists.of_deb(made) == digest_of(["usr"], {})


def test_a_deb_without_lists_is_one_too(tmp_path):
    path = tmp_path / "x.deb"
    path.write_bytes(debkit.deb_bytes([folder("usr")]))
    assert lockedlists.of_deb(path) == digest_of(["usr"], {})
