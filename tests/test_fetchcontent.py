"""What a CMake project would fetch, read off its files: every name in every branch, and nothing that is not one."""

import pytest

from build import fetchcontent
from build.fetchcontent import CMakeSyntaxError, Command, Declared
from build.lockfile import read_lock
from build.settings import REPO
from tests.patches import releases


def project(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def test_the_language():
    text = """
    # a comment (with a parenthesis
    cmake_minimum_required(VERSION 3.26) # and another
    set(X "a b" c\\;d [=[raw ]] "x"]=] #[[ inside
      two lines ]] e)
    if((A OR "B") AND NOT C)
    endif ()
    message(STATUS "quoted \\" and \\
goes on" -DFOO="a b")
    #[==[ a
    block ) ]==]
    LAST()
    """
    found = fetchcontent.commands(text)
    assert [command.name for command in found] == [
        "cmake_minimum_required", "set", "if", "endif", "message", "last",
    ]  # fmt: skip
    assert found[1] == Command(name="set", arguments=("X", "a b", "c\\;d", 'raw ]] "x"', "e"), line=4)
    assert found[2].arguments == ("(", "A", "OR", "B", ")", "AND", "NOT", "C")
    assert found[4].arguments == ("STATUS", 'quoted \\" and goes on', '-DFOO="a b"')
    assert found[5].line == 12


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("set(A\n b", "line 1: a parenthesis is not closed"),
        ("\nset A", "line 2: a command was expected"),
        ("set(A)\n)", "line 2: a command was expected"),
        ('set(A "b)', "line 1: an argument was expected"),
        ("#[[ never ends\nset(A)", "line 1: a command was expected"),
    ],
)
def test_what_is_not_the_language_is_a_fault_with_its_line(text, fault):
    with pytest.raises(CMakeSyntaxError, match=fault):
        fetchcontent.commands(text)


def test_every_branch_and_every_file_counts(tmp_path):
    root = project(
        tmp_path,
        {
            "CMakeLists.txt": """
            set(REV "v1.2")
            if(OWN_DIR)
              FetchContent_Declare(Alpha SOURCE_DIR ${OWN_DIR})
            else()
              FetchContent_Declare(
                Alpha
                GIT_REPOSITORY https://git.invalid/alpha.git
                # keep in step with the line above
                GIT_TAG ${REV}
                GIT_SHALLOW TRUE)
            endif()
            FetchContent_MakeAvailable(Alpha)
            """,
            "cmake/beta.cmake": """
            set(_repo https://git.invalid/beta)
            FetchContent_Populate(beta SOURCE_DIR "${_dir}" GIT_REPOSITORY "${_repo}" GIT_TAG "${_unknown}"
              GIT_SUBMODULES "third-party/one" two GIT_PROGRESS TRUE)
            """,
            "deep/er/CMakeLists.txt": """
            ExternalProject_Add(gamma URL https://files.invalid/g.tar.gz URL_HASH SHA256=00)
            fetchcontent_declare(delta GIT_REPOSITORY https://git.invalid/delta GIT_TAG main GIT_SUBMODULES "")
            """,
        },
    )
    assert fetchcontent.declared(root) == (
        Declared(
            name="alpha", url="https://git.invalid/alpha.git", tag="v1.2", submodules=None, file="CMakeLists.txt", line=6
        ),
        Declared(
            name="beta",
            url="https://git.invalid/beta",
            tag="${_unknown}",
            submodules=("third-party/one", "two"),
            file="cmake/beta.cmake",
            line=3,
        ),
        Declared(
            name="delta", url="https://git.invalid/delta", tag="main", submodules=(), file="deep/er/CMakeLists.txt",
            line=3,
        ),
        Declared(
            name="gamma",
            url="https://files.invalid/g.tar.gz",
            tag="SHA256=00",
            submodules=None,
            file="deep/er/CMakeLists.txt",
            line=2,
        ),
    )  # fmt: skip


def test_a_later_value_counts_for_what_follows_it_only(tmp_path):
    text = """
    set(REV one)
    FetchContent_Declare(a GIT_REPOSITORY https://git.invalid/a GIT_TAG ${REV})
    set(REV two)
    FetchContent_Declare(b GIT_REPOSITORY https://git.invalid/b GIT_TAG ${REV})
    set(REV three PARENT_SCOPE)
    FetchContent_Declare(c GIT_REPOSITORY https://git.invalid/c GIT_TAG ${REV})
    """
    root = project(tmp_path, {"CMakeLists.txt": text})
    assert [(item.name, item.tag) for item in fetchcontent.declared(root)] == [("a", "one"), ("b", "two"), ("c", "two")]


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    root = project(tmp_path, {"CMakeLists.txt": "project(x)", "cmake/odd.cmake": "set(A"})
    with pytest.raises(CMakeSyntaxError, match=r"cmake/odd\.cmake: line 1"):
        fetchcontent.declared(root)


def test_a_project_that_fetches_nothing(tmp_path):
    assert fetchcontent.declared(project(tmp_path, {"CMakeLists.txt": "project(x)\ninclude(FetchContent)"})) == ()


# --- what fetches by other means -----------------------------------------------------------------------------------


def named(root, text):
    return [(item.name, item.url) for item in fetchcontent.declared(project(root, {"CMakeLists.txt": text}))]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("file(DOWNLOAD https://x.invalid/a.h ${CMAKE_BINARY_DIR}/a.h)", "file-download"),
        ("FILE(DOWNLOAD ${URL})", "file-download"),
        ("file(UPLOAD a.txt https://x.invalid/)", "file-upload"),
        ("execute_process(COMMAND git clone https://x.invalid/a)", "execute-git"),
        ("execute_process(COMMAND git -C deps pull)", "execute-git"),
        ("execute_process(COMMAND /usr/bin/git fetch --depth=1 origin main WORKING_DIRECTORY a)", "execute-git"),
        ("execute_process(COMMAND git init COMMAND git fetch https://x.invalid/a)", "execute-git"),
        ("execute_process(COMMAND curl -LO https://x.invalid/a.tgz)", "execute-curl"),
        ("execute_process(WORKING_DIRECTORY a COMMAND /opt/bin/wget https://x.invalid/a.tgz)", "execute-wget"),
        ("execute_process(COMMAND echo COMMAND CURL https://x.invalid/)", "execute-curl"),
        ("FetchContent_Declare(Alpha)", "alpha"),
        ("FetchContent_Declare(Alpha ${HOW_TO_GET_IT})", "alpha"),
        ("FetchContent_Declare(${NAME} DOWNLOAD_COMMAND git clone https://x.invalid/a)", "${name}"),
        ("if(OFF)\n  FetchContent_Declare(a FIND_PACKAGE_ARGS)\nendif()", "a"),
        ("FetchContent_Declare()", "fetchcontent"),
    ],
)
def test_what_fetches_by_other_means_is_named(tmp_path, text, name):
    ((found, _),) = named(tmp_path, text)
    assert found == name


@pytest.mark.parametrize(
    "text",
    [
        "file(READ a.txt A)",
        "file(READ DOWNLOAD A)",  # a file of that name
        "file(STRINGS a.txt A) file(GLOB B *.cpp) file()",
        "execute_process(COMMAND git describe --tags OUTPUT_VARIABLE A)",
        "execute_process(COMMAND git rev-parse HEAD)",
        "execute_process(COMMAND ${CMAKE_COMMAND} -E echo git clone)",
        "execute_process(COMMAND python3 -c pass WORKING_DIRECTORY curl)",
        "execute_process(COMMAND) execute_process(OUTPUT_VARIABLE curl)",
        "FetchContent_Declare(a SOURCE_DIR ${HERE}/a)",
        "FetchContent_Declare(a SOURCE_DIR ${HERE}/a BINARY_DIR b) FetchContent_MakeAvailable(a)",
        "message(STATUS file DOWNLOAD) # file(DOWNLOAD x)",
    ],
)
def test_what_fetches_nothing_is_not(tmp_path, text):
    assert named(tmp_path, text) == []


def test_its_place_is_told_as_far_as_it_can_be(tmp_path):
    text = """
    set(URL https://x.invalid/a.h)
    file(DOWNLOAD ${URL} a.h EXPECTED_HASH SHA256=00 SHOW_PROGRESS STATUS S)
    """
    (found,) = fetchcontent.declared(project(tmp_path, {"cmake/a.cmake": text}))
    assert found == Declared(
        name="file-download",
        url="DOWNLOAD https://x.invalid/a.h a.h EXPECTED_HASH SHA256=00 SHOW_PROGRESS",
        tag="",
        submodules=None,
        file="cmake/a.cmake",
        line=3,
    )


def test_one_with_a_place_is_told_once(tmp_path):
    text = "FetchContent_Declare(a SOURCE_DIR b GIT_REPOSITORY https://x.invalid/a GIT_TAG v1)"
    assert named(tmp_path, text) == [("a", "https://x.invalid/a")]


@pytest.mark.parametrize("target", ["canary", "canary-0.32"])
def test_the_releases_fetch_what_was_locked_and_nothing_by_other_means(target, tmp_path):
    """vLLM 0.22.0 and 0.32.0: none of our series changes a CMake file there."""
    found = fetchcontent.declared(releases.unpacked(target, "vllm", tmp_path))
    fetched = read_lock(REPO, target).native.fetched
    assert {(item.name, item.url, item.tag) for item in found} == {(item.name, item.url, item.tag) for item in fetched}
    assert not [item.name for item in found if item.name.startswith(("file-", "execute-"))]
