"""Charts and flame graphs: what is drawn, and that a viewer can parse it."""

from xml.etree import ElementTree

from bench.chart import Bar, bars
from bench.flames import drawn, tree

STACKS = [
    "main (/srv/somebody/x.py);run (/srv/somebody/loop.py);answer (/srv/somebody/src/portrait/api.py);get (b.py) 6",
    "main (/srv/somebody/x.py);run (/srv/somebody/loop.py);send (/srv/somebody/lib/web/http.py) 4",
    "thread (/srv/somebody/x.py);wait (/srv/somebody/writer.py) 90",
]


def test_bars_are_as_long_as_what_they_stand_for():
    picture = bars("A & B", [Bar("short", 10, 8, 12, "floor"), Bar("long <1>", 20, 19, 20, "ours")])
    root = ElementTree.fromstring(picture)
    rectangles = [element for element in root.iter() if element.tag.endswith("rect")]
    assert [rectangle.get("class") for rectangle in rectangles] == ["ours", "floor"]
    assert float(rectangles[0].get("width")) == 2 * float(rectangles[1].get("width"))


def test_stacks_become_a_tree_below_a_function():
    top = tree(STACKS, "run", "portrait/")
    assert top.count == 10
    assert {name: node.count for name, node in top.calls.items()} == {
        "answer (portrait/api.py)": 6,
        "send (http.py)": 4,
    }


def test_a_flame_graph_names_no_place_of_this_machine():
    picture = drawn(tree(STACKS, "run", "portrait/"), "where time goes", "portrait/")
    assert "somebody" not in picture
    boxes = [element for element in ElementTree.fromstring(picture).iter() if element.tag.endswith("rect")]
    assert [(box.get("class"), box.get("width")) for box in boxes] == [
        ("ours", "600.0"),
        ("other", "600.0"),
        ("other", "400.0"),
    ]
