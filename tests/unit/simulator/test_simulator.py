"""A server in this process: its switches, its queue, its truth."""

from __future__ import annotations

import asyncio

import pytest

from app.simulator import Simulator, SimulatorOptions
from tests.unit.simulator.raw_client import Line, ask, chat, get, occupied, post, until


@pytest.fixture
async def sim():
    async with Simulator(ttft=0.001, itl=0.001) as simulator:
        yield simulator


def test_can_be_built_before_there_is_a_loop():
    sim = Simulator(SimulatorOptions(served_names=("a", "b")))
    sim.faults.add("silent")
    assert (sim.options.model, sim.idle, sim.listening) == ("a", True, False)


async def test_can_be_started_before_it_is_entered():
    sim = Simulator()
    await sim.start()
    port = sim.port
    async with sim:
        assert sim.port == port


async def test_stopping_closes_everything(sim):
    async with occupied(sim, 2):
        await sim.stop()
        assert (sim.truth.counters.connections_open, sim.ended.is_set(), sim.listening) == (0, True, False)


async def test_a_restart_is_a_new_process_on_the_old_port(sim):
    port = sim.port
    await ask(sim, post(chat("short")))
    sim.faults.add("silent")
    await sim.restart()
    assert (sim.port, list(sim.truth.records), sim.faults.armed()) == (port, [], [])
    assert (await ask(sim, post(chat("short")))).status == 200


async def test_refuses_and_accepts_again_on_the_same_port(sim):
    async with occupied(sim, 1) as (line,):
        sim.refuse()
        with pytest.raises(ConnectionRefusedError):
            await Line.to(sim)
        await line.events(2)
        await sim.accept()
        await sim.accept()
        assert (await ask(sim, get("/health"))).status == 200


async def test_hangs_up_on_everyone(sim):
    async with occupied(sim, 1) as (line,):
        sim.hang_up()
        assert not (await line.reader.read()).endswith(b"0\r\n\r\n")
    await until(lambda: sim.idle)


async def test_a_taken_port_is_an_error(sim):
    with pytest.raises(OSError, match="in use"):
        await Simulator().start(port=sim.port)


async def test_listens_on_ipv6():
    sim = Simulator()
    await sim.start("::1")
    assert sim.url == f"http://[::1]:{sim.port}"
    await sim.stop()


@pytest.mark.parametrize(("stop", "go"), [("pause", "resume"), ("sleep", "wake")])
async def test_a_paused_or_sleeping_engine_is_silent_and_healthy(sim, stop, go):
    getattr(sim, stop)()
    async with await Line.to(sim) as whole, await Line.to(sim) as stream:
        whole.send(post(chat("short")))
        stream.send(post(chat("short", stream=True)))
        assert (await stream.head()).status == 200
        for line in (whole, stream):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(line.reader.read(1), 0.03)
        assert (await ask(sim, get("/health"))).status == 200
        getattr(sim, go)()
        assert (await whole.hear()).status == 200
        assert (await stream.events(7))[-1] == b""


async def test_waking_does_not_end_a_pause(sim):
    sim.pause()
    sim.sleep(2)
    sim.wake()
    assert sim.instance.engines[0].paused
    sim.resume()
    assert not sim.instance.engines[0].paused


async def test_resuming_does_not_end_a_sleep(sim):
    sim.sleep()
    sim.pause()
    sim.resume()
    assert sim.instance.engines[0].paused


async def test_an_unloaded_model_is_nowhere(sim):
    sim.unload()
    assert (await ask(sim, get("/v1/models"))).json()["data"] == []
    assert (await ask(sim, post(chat("short")))).status == 404
    sim.load()
    assert (await ask(sim, post(chat("short")))).status == 200


async def test_ten_streams_on_two_places_all_have_their_heads_at_once(sim):
    sim.adjust(max_num_seqs=2, itl=0.01)
    async with occupied(sim, 10):
        engine = sim.instance.engines[0]
        assert (len(engine.running), len(engine.waiting)) == (2, 8)
    await until(lambda: sim.idle)


async def test_a_full_queue_refuses_and_counts_it(sim):
    sim.adjust(max_num_seqs=1, max_queued=1, itl=1.0)
    async with occupied(sim, 2):
        assert (await ask(sim, post(chat("short")))).status == 503
        page = (await ask(sim, get("/metrics"))).body
    assert b'vllm:admission_rejections_total{model_name="tiny",reason="max_num_queued_reqs"} 1.0' in page
    assert b'vllm:num_requests_waiting{engine="0",model_name="tiny"} 1.0' in page


async def test_the_load_is_open_requests_when_tracked(sim):
    async with occupied(sim, 3):
        assert (await ask(sim, get("/load"))).json() == {"server_load": 0}
        sim.adjust(track_load=True)
        assert (await ask(sim, get("/load"))).json() == {"server_load": 3}


async def test_engines_share_the_load_and_answer_to_their_rank():
    async with Simulator(data_parallel=2, itl=1.0) as sim:
        async with occupied(sim, 2):
            assert [engine.load for engine in sim.instance.engines] == [1, 1]
            async with await Line.to(sim) as line:
                line.send(post(chat("forever", stream=True), x_data_parallel_rank="1"))
                await line.head()
                assert [engine.load for engine in sim.instance.engines] == [1, 2]


async def test_the_truth_knows_every_request(sim):
    await ask(sim, post(chat("short", stream=True), x_request_id="one"))
    await ask(sim, post(chat("5 tokens"), x_request_id="two"))
    await ask(sim, post({"model": "nope", "messages": []}, x_request_id="one"))
    first, second = sim.truth.of("one")
    assert (first.serial, first.prompt_tokens, first.generated, first.sent, first.finish) == (
        1,
        11,
        4,
        4,
        ["stop"],
    )
    assert (first.streamed, first.status, first.model, first.path) == (
        True,
        200,
        "tiny",
        "/v1/chat/completions",
    )
    assert (second.serial, second.status, second.model, second.generated) == (3, 404, "nope", 0)
    assert sim.truth.of("two")[0].generated == 5
    counters = sim.truth.counters
    assert (counters.requests, counters.inference_requests, counters.generated_tokens) == (3, 3, 9)
    assert (counters.prompt_tokens, counters.aborts) == (11 + sim.truth.of("two")[0].prompt_tokens, 0)
    assert sim.truth.active == []


async def test_the_truth_keeps_what_was_sent_to_it(sim):
    await ask(sim, post(chat("short", unknown=1), x_custom="yes"))
    assert b'"unknown": 1' in sim.truth.last.body
    assert (b"x-custom", b"yes") in sim.truth.last.headers


async def test_the_truth_does_not_grow_without_end(monkeypatch):
    monkeypatch.setattr("app.simulator.truth._WHOLE_RECORDS", 2)
    async with Simulator(ttft=0.0, itl=0.0, truth_limit=3) as sim:
        for _ in range(5):
            await ask(sim, post(chat("short")))
        assert [record.serial for record in sim.truth.records] == [3, 4, 5]
        assert [bool(record.body) for record in sim.truth.records] == [False, True, True]


async def test_the_truth_agrees_with_the_metrics(sim):
    for keyword in ("short", "hello", "7 tokens"):
        await ask(sim, post(chat(keyword)))
    page = (await ask(sim, get("/metrics"))).body.decode()
    counters = sim.truth.counters
    assert (
        f'vllm:generation_tokens_total{{engine="0",model_name="tiny"}} {float(counters.generated_tokens)}'
        in page
    )
    assert f'vllm:prompt_tokens_total{{engine="0",model_name="tiny"}} {float(counters.prompt_tokens)}' in page
    assert 'vllm:request_success_total{engine="0",finished_reason="stop",model_name="tiny"} 3.0' in page


async def test_shows_its_state(sim):
    assert "connections=0" in repr(sim)
    assert "requests=0" in repr(sim.truth)


async def test_the_openai_sdk_reads_it():
    openai = pytest.importorskip("openai")
    async with (
        Simulator(ttft=0.001, itl=0.0) as sim,
        openai.AsyncOpenAI(base_url=f"{sim.url}/v1", api_key="x") as client,
    ):
        messages = [{"role": "user", "content": "short"}]
        answer = await client.chat.completions.create(model="tiny", messages=messages)
        stream = await client.chat.completions.create(model="tiny", messages=messages, stream=True)
        pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
        listed = [model.id async for model in client.models.list()]
    assert (answer.choices[0].message.content, "".join(pieces), listed) == ("OK.", "OK.", ["tiny"])


async def test_sleep_shows_in_the_metrics_and_a_pause_does_not(sim):
    async def awake() -> str:
        page = (await ask(sim, get("/metrics"))).body.decode()
        (line,) = [each for each in page.splitlines() if 'sleep_state="awake"' in each]
        return line.split()[-1]

    assert await awake() == "1.0"
    sim.pause()
    assert await awake() == "1.0"
    sim.sleep()
    assert await awake() == "0.0"
    sim.wake()
    assert await awake() == "1.0"
