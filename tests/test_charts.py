"""Where charts draw what: inside their frame, on round axes, medians joined."""

from hypothesis import given
from hypothesis import strategies as st

from build import charts
from build.charts import Point, against_length, medians

POINTS = st.builds(Point, tokens=st.integers(1, 2_000_000), value=st.floats(0, 1e7), label=st.just("x"))


@given(st.lists(POINTS, min_size=1, max_size=30), st.lists(POINTS, max_size=3))
def test_all_lies_inside_the_frame(points, references):
    chart = against_length("t", "s", points, references)
    for dot in (*chart.dots, *chart.references):
        assert chart.left <= dot.x <= chart.right
        assert chart.top - 0.1 <= dot.y <= chart.bottom
    assert all(chart.left <= tick.position <= chart.right for tick in chart.x_ticks)
    assert all(chart.top - 0.1 <= tick.position <= chart.bottom for tick in chart.y_ticks)
    assert 2 <= len(chart.y_ticks) <= 8
    assert chart.y_ticks[0].position == chart.bottom


def test_no_points_no_chart():
    assert against_length("t", "s", [], [Point(tokens=9, value=1, label="x")]) is None


def test_repeated_measurements_are_joined_by_their_median():
    points = [Point(tokens=n, value=v, label="") for n, v in ((1000, 5), (1010, 7), (990, 100), (8000, 4))]
    assert medians(points) == [(1000, 7), (8000, 4)]
    assert against_length("t", "s", points, []).line.count(",") == 2


def test_longer_prompts_stand_further_right_and_more_stands_higher():
    chart = against_length("t", "s", [Point(tokens=1000, value=1, label=""), Point(tokens=9000, value=2, label="")], [])
    assert chart.dots[0].x < chart.dots[1].x
    assert chart.dots[0].y > chart.dots[1].y
    assert [tick.label for tick in chart.x_ticks] == ["1k", "2k", "5k", "10k"]
    assert charts.short(1500) == "1.5k"
