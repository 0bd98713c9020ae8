import pytest

from build import console


def test_results_and_talk_do_not_mix(capsys):
    console.say("working")
    console.warn("careful")
    console.table("Things", ["name", "size"], [["one", "1 B"], ["[bold]two", "2 B"]])
    out, err = capsys.readouterr()
    assert err == "working\nwarning: careful\n"
    assert "working" not in out
    assert "[bold]two" in out, "cells are text, not markup"


def test_a_step_says_how_it_ended(capsys):
    with console.step("fetch"):
        pass
    with pytest.raises(KeyboardInterrupt), console.step("build"):
        raise KeyboardInterrupt
    lines = capsys.readouterr().err.splitlines()
    assert [line[:7] for line in lines] == ["→ fetch", "✓ fetch", "→ build", "✗ build"]
    assert lines[1].endswith(" s)")


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1_500_000, "1.5 MB"), (4e9, "4.00 GB"), (4.5e12, "4500.00 GB")],
)
def test_sizes_are_decimal(count, text):
    assert console.human_bytes(count) == text
