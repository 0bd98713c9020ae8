from collections import Counter

from build import errors
from build.errors import BuildError, CommandError, UnknownTargetError


def kinds(root=BuildError):
    for kind in root.__subclasses__():
        yield kind
        yield from kinds(kind)


def test_every_kind_has_an_exit_code_of_its_own():
    codes = Counter(kind.exit_code for kind in {BuildError, *kinds()})
    assert [code for code, count in codes.items() if count > 1] == []


def test_codes_leave_defects_and_ctrl_c_alone():
    assert {kind.exit_code for kind in kinds()}.isdisjoint({0, 1, 130, *range(126, 256)})


def test_every_kind_says_what_it_stands_for():
    assert [kind.__name__ for kind in kinds() if not kind.__doc__] == []


def test_a_message_says_what_why_and_what_to_do():
    error = UnknownTargetError(
        "no target v0.31", why="lock/targets.toml names v0.22, v0.32", todo="did you mean v0.32?"
    )
    assert str(error).splitlines() == [
        "no target v0.31",
        "  why: lock/targets.toml names v0.22, v0.32",
        "  do:  did you mean v0.32?",
    ]


def test_parts_that_are_not_known_are_left_out():
    assert str(BuildError("it failed")) == "it failed"


def test_a_command_error_keeps_its_status_and_output():
    error = CommandError("tar failed", returncode=2, output="tar: broken")
    assert (error.returncode, error.output, error.exit_code) == (2, "tar: broken", 50)


def test_all_errors_stand_in_one_module():
    assert {kind.__module__ for kind in kinds()} == {errors.__name__}
