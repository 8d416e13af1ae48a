"""Whoever reads an answer knows of its last piece that it is the last."""

from __future__ import annotations

import pytest

from app.gateway.catalog import Model
from tests.continuing import CUT
from tests.fakes import make_call
from tests.line import DONE, HEL, JSON, LO, ROLE, SSE, STOP, Rig, answer

RESUMES = Model("m", resume=True)
ANSWERS = {
    "json": (Model("m"), [(200, JSON, [answer()])], []),
    "stream": (Model("m"), [(200, SSE, [ROLE + HEL, LO, STOP, DONE])], []),
    "stream in one piece": (Model("m"), [(200, SSE, [ROLE + HEL + LO + STOP + DONE])], []),
    "unbroken": (RESUMES, [(200, SSE, [ROLE + HEL, LO + STOP + DONE])], []),
    "carried on": (RESUMES, [(200, SSE, [ROLE + HEL, CUT])], [(200, SSE, [ROLE + LO, STOP, DONE])]),
    "end made up": (RESUMES, [(200, SSE, [ROLE + HEL + LO, STOP, CUT])], []),
}


@pytest.mark.parametrize("case", ANSWERS)
async def test_the_last_piece_is_known_to_be_the_last(case):
    model, first, second = ANSWERS[case]
    answers = {"a": first, "b": second} if second else {"a": first}
    rig = Rig(*answers, attempts=2, model=model, **answers)
    streams = case != "json"
    body = {"model": "m", "stream": streams, "messages": [{"role": "user", "content": "hi"}]}
    reply = await rig.gateway.serve(make_call(streams=streams, body=body), model)
    ended = []
    while piece := await reply.body.read():
        ended.append(reply.body.ended)
    assert ended == [False] * (len(ended) - 1) + [True]
    assert reply.body.ended
    assert piece == b""
    reply.body.close()
