"""One thread walks over time, others do what does not depend on the step before."""
import check
import pytest
from cases_rnn import CASES as ROWS

from gpukeras.ops import host_lstm
from gpukeras.ops.host_relay import Relay
from gpukeras.ops.lstm import LstmWhole, LstmWholeGrad
from gpukeras.team import Team, in_turn

CASES = [case for case in ROWS if isinstance(case.op, LstmWholeGrad)
         or isinstance(case.op, LstmWhole) and case.op.keep]


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("case", CASES, ids=repr)
def test_layers_agree_with_the_scan(case, threads, together, monkeypatch):
    crew, jobs = Team(threads), []

    def bind(given):
        jobs.extend(given)
        return (lambda: crew.together(given)) if together else in_turn(given)

    monkeypatch.setattr(crew, "bind", bind)
    monkeypatch.setattr(host_lstm, "team", lambda: crew)
    monkeypatch.setattr(host_lstm, "by_relay", lambda *a: True)
    monkeypatch.setattr(host_lstm._Chunk, "BYTES", 1 << 12)         # several chunks
    check.check_host(case)
    expected = case.op.weights or case.op.inputs if isinstance(case.op, LstmWholeGrad) else True
    assert (len(jobs) == threads) == expected


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_rounds_of_a_lane_go_in_order_and_none_before_it_may(threads):
    done, crew = [], Team(threads)
    relay = Relay([[lambda r=r, i=i: done.append((r, i)) for i in range(3)] for r in range(20)])

    def walk():
        for r in range(20):
            seen = len(done)
            assert seen <= 3 * r
            relay.allow()
            if r % 5 == 0:
                relay.reach(r + 1)
                assert len(done) == 3 * (r + 1)

    for _ in range(5):
        done.clear()
        relay.begin()
        assert crew.together(relay.jobs(walk, threads))
        assert sorted(done) == [(r, i) for r in range(20) for i in range(3)]
        for lane in range(3):
            assert [r for r, i in done if i == lane] == list(range(20))


@pytest.mark.parametrize("who", ["walk", "piece"])
def test_a_failure_ends_all(who):
    def fail():
        raise ArithmeticError("no")

    relay = Relay([[fail if who == "piece" else int, int]] * 3)

    def walk():
        relay.allow()
        if who == "walk":
            fail()
        for _ in range(2):
            relay.allow()

    relay.begin()
    crew = Team(2)
    with pytest.raises(ArithmeticError):
        crew.together(relay.jobs(walk, 2))
    assert relay.failed and min(relay.done) < 3
