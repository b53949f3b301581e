"""The simulator of benchmarks/scaling.py against what can be said in closed form."""
import importlib.util
import pathlib

import pytest

PATH = pathlib.Path(__file__).resolve().parents[2] / "benchmarks" / "scaling.py"
spec = importlib.util.spec_from_file_location("scaling", PATH)
scaling = importlib.util.module_from_spec(spec)
spec.loader.exec_module(scaling)
Link, Machine, Work = scaling.Link, scaling.Machine, scaling.Work


def test_a_ring_sends_each_byte_twice_but_for_the_own_share():
    free = Link(0.0, 1e9)
    assert scaling.ring(1e9, 2, free) == pytest.approx(1.0)
    assert scaling.ring(1e9, 1000, free) == pytest.approx(1.998)
    assert scaling.ring(0, 5, Link(1e-6, 1e9)) == pytest.approx(8e-6)


def test_short_messages_take_the_tree_long_ones_the_ring():
    link = Link(1e-5, 1e9)
    assert scaling.flat_sum(100, 64, link) == scaling.tree(100, 64, link) < scaling.ring(
        100, 64, link)
    assert scaling.flat_sum(1e9, 64, link) == scaling.ring(1e9, 64, link)


def test_between_nodes_travels_a_nodes_share_alone():
    machine = Machine(8, Link(0.0, 1e30), Link(0.0, 1e9))
    assert scaling.sum_seconds(8e9, 8, machine) == pytest.approx(0, abs=1e-12)
    assert scaling.sum_seconds(8e9, 16, machine) == pytest.approx(1.0)


def test_sums_hide_behind_the_backward_pass():
    link = Link(0.0, 1e9)
    two = Machine(2, link, link)
    work = Work(1.0, 2.0, 0.5, (1e8,) * 10)                  # ten sums of 0.1 s, one every 0.2 s
    seconds, waits = scaling.step_seconds(work, 2, two)
    assert (seconds, waits) == (pytest.approx(3.6), pytest.approx(0.1))   # the last one shows
    seconds, waits = scaling.step_seconds(work, 2, two, overlapped=False)
    assert (seconds, waits) == (pytest.approx(4.5), pytest.approx(1.0))
    slow = Machine(2, Link(0.0, 1e8), Link(0.0, 1e8))        # 1 s each: the link is always busy
    assert scaling.step_seconds(work, 2, slow)[0] == pytest.approx(1.0 + 0.2 + 10 + 0.5)


def test_one_device_waits_for_nobody_and_more_never_help():
    work = Work.even(1e-3, 2e-3, 1e-4, 1e8)
    assert scaling.efficiency(work, 1, scaling.CLUSTER) == 1
    shares = [scaling.efficiency(work, n, scaling.CLUSTER) for n in scaling.COUNTS]
    assert shares == sorted(shares, reverse=True) and shares[-1] > 0
    assert all(scaling.efficiency(work, n, scaling.CLUSTER, overlapped=False) <= share
               for n, share in zip(scaling.COUNTS, shares))


def test_a_link_is_found_from_what_its_sums_take():
    link = Link(5e-6, 2e9)
    sums = {n: scaling.ring(n, 2, link) for n in scaling.SIZES}
    found = scaling.fitted(sums)
    assert found.latency == pytest.approx(link.latency, rel=0.2)
    assert found.rate == pytest.approx(link.rate, rel=0.05)
