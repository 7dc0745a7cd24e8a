"""The identity graph, under anything that may happen to it."""

from hypothesis.stateful import run_state_machine_as_test

from identifying.machine import SETTINGS, Machine


def test_whatever_happens_to_the_graph_on_sqlite():
    run_state_machine_as_test(Machine, settings=SETTINGS)
