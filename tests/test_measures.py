"""What bench says: medians, and ratios that say nothing where there is nothing to divide."""

import json

from build import measures
from build.measures import Measure, Pair


def test_a_measure_tells_its_median_and_keeps_every_run():
    told = Measure(name="x", times=(9.0, 1.0, 2.0), new_bytes=5).as_dict()
    assert told["seconds"] == 2.0
    assert told["runs"] == 3
    assert json.loads(json.dumps(told))["times"] == [9.0, 1.0, 2.0]


def test_columns_and_cells_are_as_many():
    item = Measure(name="x", times=(1.0,), engine_cpu=3.25, new_bytes=1, record_bytes=1, peak_bytes=1)
    assert measures.row(item) == ["x", "1.00 s", "1", "1 B", "1 B", "3.2 s", "1 B"]
    assert len(measures.row(item)) == len(measures.COLUMNS)
    assert len(measures.pair_row(Pair(name="x", ours=item, usual=item))) == len(measures.PAIR_COLUMNS)


def test_ratios_are_of_medians_and_of_bytes_where_both_made_some():
    ours = Measure(name="x", times=(1.0, 100.0, 2.0), new_bytes=10)
    slow = Measure(name="x", times=(8.0,), new_bytes=25)
    none = Measure(name="x", times=(8.0,))
    found = measures.ratios([Pair(name="both", ours=ours, usual=slow), Pair(name="one", ours=ours, usual=none)])
    assert found == {"both": {"seconds": 4.0, "new_bytes": 2.5}, "one": {"seconds": 4.0, "new_bytes": None}}
