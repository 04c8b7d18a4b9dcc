import math
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.reporting import charts
from headstart.reporting.charts import Line

LIMIT = 1e9
numbers = st.floats(-LIMIT, LIMIT, allow_nan=False)


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=20))
def test_points_lie_in_the_frame_whatever_their_range(points):
    x, y = [a for a, _ in points], [b for _, b in points]
    drawn = ET.fromstring(charts.chart([Line(x, y, "s0", dots=True)], says="<&", x="<x>", y="y"))
    assert drawn.attrib["aria-label"] == "<&"
    circles = [element for element in drawn if element.tag == "circle"]
    assert len(circles) == len(points)
    for circle in circles:
        assert charts.LEFT - 0.1 <= float(circle.attrib["cx"]) <= charts.WIDTH - charts.RIGHT + 0.1
        assert charts.TOP - 0.1 <= float(circle.attrib["cy"]) <= charts.HEIGHT - charts.BOTTOM + 0.1


@given(numbers, st.floats(1e-6, LIMIT))
def test_ticks_are_few_round_and_inside(low, width):
    high = low + width
    if high - low < 1e-9 * max(abs(low), abs(high)):
        return  # narrower than numbers of this size can be told apart
    found = charts.ticks(low, high)
    assert 2 <= len(found) <= 8
    assert all(low - 1e-6 * width <= tick <= high + 1e-6 * width for tick in found)


@pytest.mark.parametrize(("low", "high", "ticks"), [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (0.86, 1.01, [0.9, 0.95, 1])])
def test_ticks_are_what_one_would_write(low, high, ticks):
    assert charts.ticks(low, high) == pytest.approx(ticks)


def test_what_is_not_a_number_is_left_out():
    drawn = charts.chart([Line([1, 2, 3], [0.5, math.nan, 0.7], "s0", dots=True)], says="a loss", x="x", y="y")
    assert drawn.count("<circle") == 2
    assert "nan" not in drawn


def test_a_grid_names_what_was_taken_for_what():
    drawn = charts.grid([(0, 0, 3), (0, 1, 1)], [4, 0], ["<a>", "b"], says="two classes")
    ET.fromstring(drawn)
    assert "&lt;a&gt; taken for b: 1" in drawn


def test_epochs_are_counted_in_whole_numbers():
    drawn = charts.chart([Line([1, 2, 3], [0.1, 0.2, 0.3], "s0")], says="a loss", x="epoch", y="loss", whole=True)
    below = [text.text for text in ET.fromstring(drawn) if text.attrib.get("y") == str(charts.HEIGHT - 24)]
    assert below == ["1", "2", "3"]
