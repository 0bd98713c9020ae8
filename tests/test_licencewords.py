"""Licences in the words of packages: what is taken as SPDX, and what is left as it is."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from license_expression import get_spdx_licensing

from build.licencewords import OTHER, REFERENCE, Licence, identifier, of_copyright, of_metadata, spdx

LIBRARY = get_spdx_licensing()
TOKENS = (
    "MIT", "mit", "GPL-2", "GPL-2.0+", "LicenseRef-A", "AND", "and", "OR", "or", "WITH", "with", "exception", "(", ")",
    "Linux-syscall-note", "LLVM-exception", "public-domain", ",", "/", ":", ";", "&", "|", "+", "é", "\t",
)  # fmt: skip
WORDS = st.lists(st.sampled_from(TOKENS), max_size=8).map(" ".join)


def metadata(*lines):
    return "\n".join(["Metadata-Version: 2.4", "Name: a", "Version: 1", *lines, "", "License: in the description"])


def copyright_of(*names):
    return "\n\n".join(
        ["Format: https://x.example/1.0/", *(f"Files: {name}\nLicense: {name}\n text" for name in names)]
    )


@pytest.mark.parametrize(
    ("lines", "expression", "comment"),
    [
        (["License-Expression: MIT"], "MIT", ""),
        (["License-Expression: apache-2.0 or (MIT and 0bsd)"], "Apache-2.0 OR (MIT AND 0BSD)", ""),
        (["License-Expression: LicenseRef-NVIDIA-Proprietary"], "LicenseRef-NVIDIA-Proprietary", ""),
        (["License-Expression: GPL-2.0+"], "GPL-2.0-or-later", ""),  # an identifier that SPDX gave up
        (["License-Expression: MIT", "License: BSD", "Classifier: License :: OSI Approved :: BSD License"], "MIT", ""),
        (["License-Expression: My own", "License: ISC"], "ISC", ""),
        (["License: MIT OR Apache-2.0"], "MIT OR Apache-2.0", ""),
        (["License: Apache 2.0"], "", "Apache 2.0"),
        (["License: BSD", "Classifier: License :: OSI Approved :: BSD License"], "", "BSD; BSD License"),
        (["Classifier: License :: OSI Approved :: MIT License"], "", "MIT License"),  # not said which MIT
        (["Classifier: License :: OSI Approved"], "", "OSI Approved"),
        (["License: UNKNOWN", "Classifier: Programming Language :: Python"], "", "UNKNOWN"),
        (["License: Apache License", "        Version 2.0"], "", "Apache License Version 2.0"),
        (["License: MIT-like (https://me:secret@h.example/x) <me@h.example>"], "", "MIT-like"),
        ([], "", ""),
    ],
)
def test_what_metadata_tells(lines, expression, comment):
    assert of_metadata(metadata(*lines)) == Licence(expression=expression, comment=comment)


def test_a_whole_text_is_not_kept():
    found = of_metadata(metadata("License: " + "Permission is hereby granted, free of charge " * 30))
    assert found.expression == ""
    assert len(found.comment) <= 61
    assert found.comment.endswith("…")


@pytest.mark.parametrize(
    ("names", "expression", "comment"),
    [
        (["Expat"], "MIT", ""),
        (["GPL-2+", "LGPL-2.1", "GPL-3.0"], "GPL-2.0-or-later AND GPL-3.0-only AND LGPL-2.1-only", ""),
        (["GPL-2+", "GPL-2+"], "GPL-2.0-or-later", ""),
        (["public-domain"], "", "public-domain"),
        (["ISC", "public-domain"], f"ISC AND {OTHER}", "public-domain"),
        (["BSD-3-clause or GPL-2"], "BSD-3-Clause OR GPL-2.0-only", ""),
        (["Zlib", "BSD-3-clause or GPL-2"], "(BSD-3-Clause OR GPL-2.0-only) AND Zlib", ""),
        (["GPL-2+ or Artistic", "Expat"], f"{OTHER} AND MIT", "GPL-2+ or Artistic"),  # a choice is one thing
        (["ISC and SunOS-like"], f"ISC AND {OTHER}", "SunOS-like"),
        (["GPL-1+ or X11, and Expat"], "(GPL-1.0-or-later OR X11) AND MIT", ""),
        (["GPL-2 with Linux-syscall-note exception"], "GPL-2.0-only WITH Linux-syscall-note", ""),
        (["GPL-3+ with Bison exception"], "", "GPL-3+ with Bison exception"),  # SPDX has two of them
        (["MIT"], "", "MIT"),
        ([""], "", "without a name"),
        ([], "", "its copyright file names none"),
    ],
)
def test_what_a_copyright_file_tells(names, expression, comment):
    assert of_copyright(copyright_of(*names)) == Licence(expression=expression, comment=comment)


@pytest.mark.parametrize(
    ("text", "comment"),
    [
        ("", "it has no copyright file"),
        ("  \n", "it has no copyright file"),
        ("This package was made by hand.\n\nLicense: GPL-2+\n", "its copyright file is prose"),
        ("It is free.\n\nFormat: not a header any more\n", "its copyright file is prose"),
    ],
)
def test_what_is_no_machine_readable_file(text, comment):
    assert of_copyright(text) == Licence(comment=comment)


def test_a_header_of_an_older_form_is_one():
    assert of_copyright("Format-Specification: x\nName: y\n\nFiles: *\nLicense: Expat\n").expression == "MIT"
    assert of_copyright("\nFormat: x\n\nFiles: *\nlicense:Expat  \n").expression == "MIT"


def test_names_within_the_texts_are_not_read():
    assert (
        of_copyright("Format: x\n\nFiles: *\nLicense: Expat\n License: GPL-2\n .\n  License: ISC\n").expression == "MIT"
    )


@pytest.mark.parametrize(
    "name", ["GPL", "LGPL", "AGPL-9", "GPL-2-or-3", "Artistic", "BSD", "Python", "none", "other", ""]
)
def test_names_that_say_too_little(name):
    assert identifier(name) == ""


@given(WORDS | st.text(max_size=40))
@example("MIT,")  # the library's validate() falls over this
@example("MIT/Apache-2.0")
@example("LicenseRef-MIT-Bootstrap")  # the library takes it for MIT
@example("LicenseRef-PublicDomain")
@example("DocumentRef-a:LicenseRef-b")
@example("NOASSERTION")
def test_an_expression_is_one_for_the_library_too(words):
    found = spdx(words)
    if not found:
        return
    assert spdx(found) == found
    assert set(REFERENCE.findall(found)) == set(REFERENCE.findall(words))
    told = LIBRARY.validate(REFERENCE.sub("MIT", found))
    assert told.errors == []


@pytest.mark.parametrize("words", ["LicenseRef-MIT-Bootstrap", "LicenseRef-PublicDomain", "", "NOASSERTION", "MIT,"])
def test_what_is_not_taken_for_an_expression(words):
    assert spdx(words) == ""


@given(st.lists(WORDS | st.text(max_size=20), max_size=5), st.text(max_size=60))
def test_any_file_gives_a_licence(names, text):
    for found in (
        of_copyright(copyright_of(*names)),
        of_copyright(text),
        of_metadata(text),
        of_metadata(metadata(text)),
    ):
        assert found.expression == "" or spdx(found.expression) == found.expression
        assert not re.search(r"[\r\n]", found.comment)


@given(WORDS)
def test_nothing_of_a_copyright_file_is_lost(words):
    found = of_copyright(copyright_of("ISC", words))
    assert (OTHER in found.expression) == bool(found.comment)
