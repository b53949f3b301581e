"""Whole recurrent layers, the batch cut over threads: the same rows of cases, the same values."""
import check
import pytest
from cases_rnn import CASES as ROWS

from gpukeras.ops import host_gru, host_lstm, host_whole
from gpukeras.ops.gru import GruWhole, GruWholeGrad
from gpukeras.ops.lstm import LstmWhole, LstmWholeGrad
from gpukeras.team import Team

CASES = [case for case in ROWS
         if isinstance(case.op, (LstmWhole, LstmWholeGrad, GruWhole, GruWholeGrad))]


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_parts_of_the_batch_on_threads(case, monkeypatch):
    crew, parts = Team(2), []

    def bind(jobs):
        parts.append(len(jobs))
        return lambda: [job() for job in jobs] if not crew.together(jobs) else None

    monkeypatch.setattr(crew, "bind", bind)
    for module in (host_lstm, host_gru, host_whole):
        monkeypatch.setattr(module, "team", lambda: crew)
    monkeypatch.setattr(host_whole, "WORTH_SHARING", 0)
    monkeypatch.setattr(host_whole, "FEW_ROWS", 0)              # test_host_relay.py
    check.check_host(case)
    rows = case.inputs[0]
    rows = rows[1 if isinstance(case.op, (LstmWholeGrad, GruWholeGrad)) else 0]
    assert parts == [2 if rows >= 4 else 1]
