from __future__ import annotations

import pytest

from app.simulator.engine.engine import Engine
from app.simulator.engine.sequence import Limits, Sequence
from app.simulator.options import SimulatorOptions
from app.simulator.text.replies import Replies
from app.simulator.text.template import Prompt
from app.simulator.text.tokenizer import Tokenizer
from tests.unit.simulator.timers import VirtualTimers

TOKENIZER = Tokenizer()
REPLIES = Replies(TOKENIZER)


class Bench:
    """An engine in virtual time, and everything its sequences heard."""

    def __init__(self, **options) -> None:
        self.timers = VirtualTimers()
        fields = {"ttft": 1.0, "itl": 0.1, **options}
        self.engine = Engine(SimulatorOptions(**fields), self.timers)
        self.heard: list[tuple[str, float, str | None]] = []
        self.names: dict[Sequence, str] = {}

    def submit(self, name="a", tokens=5, prompt="hello", keyword="forever", priority=0) -> Sequence:
        script = REPLIES.chat(keyword, tools=False)
        limits = Limits(tokens)
        read = Prompt(TOKENIZER.encode(prompt), prompt)
        sequence = Sequence(read, script, limits, self._hear, priority=priority)
        self.names[sequence] = name
        self.engine.submit(sequence)
        return sequence

    def _hear(self, sequence, output) -> None:
        self.heard.append((self.names[sequence], round(self.timers.now - 100, 3), output.finish))

    def times(self, name="a") -> list[float]:
        return [when for who, when, _ in self.heard if who == name]

    @property
    def order(self) -> str:
        return "".join(who for who, _, _ in self.heard)


def test_tokens_come_at_their_time():
    bench = Bench()
    bench.submit()
    bench.timers.advance(10)
    assert bench.times() == [1.0, 1.1, 1.2, 1.3, 1.4]
    assert bench.heard[-1][2] == "length"


def test_nothing_is_left_after_the_last_token():
    bench = Bench()
    bench.submit()
    bench.timers.advance(10)
    assert (bench.engine.load, bench.engine.blocks.taken) == (0, 0)


def test_a_prompt_takes_time_by_its_length():
    bench = Bench(prefill_tokens_per_second=10)
    bench.submit(prompt="hello world")
    bench.timers.advance(10)
    assert bench.times()[0] == 1.5


def test_no_more_than_the_places_there_are():
    bench = Bench(max_num_seqs=2)
    for name in "abc":
        bench.submit(name)
    assert (len(bench.engine.running), len(bench.engine.waiting)) == (2, 1)
    bench.timers.advance(10)
    assert bench.times("c")[0] == pytest.approx(bench.times("a")[-1] + 1.0)


def test_first_come_first_served():
    bench = Bench(max_num_seqs=1)
    for name in "abc":
        bench.submit(name, 1)
    bench.timers.advance(10)
    assert bench.order == "abc"


def test_priorities_go_before_order_of_arrival():
    bench = Bench(max_num_seqs=1, scheduling="priority")
    for name, priority in (("a", 0), ("b", 5), ("c", 1), ("d", 5)):
        bench.submit(name, 1, priority=priority)
    bench.timers.advance(10)
    assert bench.order == "acbd"


def test_no_delay_is_fair_to_all():
    bench = Bench(ttft=0.0, itl=0.0)
    for name in "abc":
        bench.submit(name, 4)
    bench.timers.advance(0)
    assert bench.order == "abc" * 4


def test_no_delay_gives_the_loop_a_turn_now_and_then():
    bench = Bench(ttft=0.0, itl=0.0)
    bench.submit(tokens=2000)
    bench.engine._tick()
    assert 0 < len(bench.heard) < 2000


def test_load_stretches_every_gap():
    bench = Bench(max_num_seqs=3, load_factor=3.0)
    for name in "abc":
        bench.submit(name, 3)
    bench.timers.advance(10)
    assert bench.times("a")[:2] == [1.0, 1.3]


def test_a_single_sequence_feels_no_load():
    bench = Bench(max_num_seqs=3, load_factor=3.0)
    bench.submit("a", 3)
    bench.timers.advance(10)
    assert bench.times("a") == [1.0, 1.1, 1.2]


def test_an_engine_has_a_top_speed():
    bench = Bench(ttft=0.0, itl=0.0, tokens_per_second=10)
    for name in "ab":
        bench.submit(name, 10)
    bench.timers.advance(0.95)
    assert len(bench.heard) == 10
    assert {bench.order.count("a"), bench.order.count("b")} == {5}


def test_jitter_is_the_same_for_the_same_seed():
    def run(seed):
        bench = Bench(jitter=0.5, seed=seed)
        bench.submit(tokens=20)
        bench.timers.advance(60)
        return bench.times()

    assert run(1) == run(1)
    assert run(1) != run(2)
    gaps = [later - one for one, later in zip(run(1), run(1)[1:], strict=False)]
    assert all(0.049 <= gap <= 0.151 for gap in gaps)


def test_an_aborted_sequence_hears_nothing_more_and_gives_its_place():
    bench = Bench(max_num_seqs=1)
    gone = bench.submit("a", 100)
    bench.submit("b", 1)
    bench.timers.advance(1.25)
    bench.engine.abort(gone)
    bench.timers.advance(20)
    assert bench.order == "aaab"
    assert (gone.finish, gone.generated) == ("gone", 3)
    assert bench.engine.blocks.taken == 0


def test_an_aborted_waiting_sequence_never_runs():
    bench = Bench(max_num_seqs=1)
    bench.submit("a", 1)
    bench.engine.abort(bench.submit("b", 1))
    bench.timers.advance(20)
    assert bench.order == "a"


def test_a_held_sequence_keeps_its_place_in_silence():
    bench = Bench(max_num_seqs=1)
    held = bench.submit("a", 100)
    bench.timers.advance(1.05)
    bench.engine.hold(held)
    bench.timers.advance(20)
    assert (bench.order, len(bench.engine.running)) == ("a", 1)


def test_a_paused_engine_neither_starts_nor_goes_on():
    bench = Bench()
    bench.submit("a", 5)
    bench.timers.advance(1.15)
    bench.engine.pause()
    bench.submit("b", 1)
    bench.timers.advance(50)
    assert bench.order == "aa"
    bench.engine.resume()
    bench.timers.advance(50)
    assert sorted(bench.order) == sorted("aaaaab")


def test_a_held_sequence_stays_held_over_a_pause():
    bench = Bench()
    held = bench.submit("a", 5)
    bench.timers.advance(1.05)
    bench.engine.hold(held)
    bench.engine.pause()
    bench.engine.resume()
    bench.timers.advance(50)
    assert bench.order == "a"


def test_ending_everything_tells_who_ran_and_who_waited():
    bench = Bench(max_num_seqs=1)
    first, second = bench.submit("a"), bench.submit("b")
    ran, waited = bench.engine.finish_all("abort")
    bench.timers.advance(50)
    assert (ran, waited, bench.heard) == ([first], [second], [])
    assert (first.finish, second.finish, bench.engine.load) == ("abort", "abort", 0)
    assert bench.engine.stats.finished["abort"] == 2


def test_blocks_bound_what_runs():
    bench = Bench(kv_blocks=4, block_size=4)
    for name in "abc":
        bench.submit(name, 4, prompt="hello world")
    assert (len(bench.engine.running), len(bench.engine.waiting)) == (2, 1)
    assert bench.engine.blocks.usage == 1.0
    bench.timers.settle()
    assert [bench.order.count(name) for name in "abc"] == [4, 4, 4]


def test_a_sequence_larger_than_all_blocks_still_runs_alone():
    bench = Bench(kv_blocks=1, block_size=4)
    bench.submit("a", 30, prompt="hello world")
    bench.timers.settle()
    assert bench.order == "a" * 30
    assert bench.engine.blocks.usage == 0.0


def test_the_youngest_is_preempted_when_blocks_run_out_and_loses_nothing():
    bench = Bench(kv_blocks=4, block_size=4, itl=0.1)
    bench.submit("a", 12, prompt="hello")
    bench.submit("b", 12, prompt="hello")
    bench.timers.settle()
    assert bench.engine.stats.preemptions >= 1
    assert (bench.order.count("a"), bench.order.count("b")) == (12, 12)
    assert bench.times("a")[-1] < bench.times("b")[-1]
    assert bench.engine.blocks.taken == 0


def test_a_repeated_prompt_is_found_in_whole_blocks():
    bench = Bench(block_size=4)
    text = "hello world " * 3
    first = bench.submit("a", 1, prompt=text)
    second = bench.submit("b", 1, prompt=text)
    count = len(TOKENIZER.encode(text))
    assert (first.cached_tokens, first.created_tokens) == (0, count // 4 * 4)
    assert (second.cached_tokens, second.created_tokens) == ((count - 1) // 4 * 4, 0)


def test_counts_what_it_made():
    bench = Bench()
    bench.submit("a", 5)
    bench.submit("b", 2, keyword="short")
    bench.timers.advance(20)
    stats = bench.engine.stats
    assert (stats.generation_tokens, stats.prompt_tokens) == (7, 4)
    assert (stats.finished["length"], stats.time_to_first_token_seconds.count) == (2, 2)
    assert stats.inter_token_latency_seconds.count == 5


def test_new_places_are_taken_at_once():
    bench = Bench(max_num_seqs=1)
    for name in "abc":
        bench.submit(name)
    bench.engine.adjust(SimulatorOptions(ttft=1.0, itl=0.1, max_num_seqs=3))
    assert len(bench.engine.running) == 3


def test_shows_its_state():
    assert repr(Bench().engine) == "Engine(running=0, waiting=0, blocks=0)"


def test_an_earlier_token_moves_the_timer():
    bench = Bench(ttft=0.5, itl=9.0)
    bench.submit("a", 2)
    bench.timers.advance(0.6)
    bench.submit("b", 1)
    bench.timers.advance(20)
    assert bench.order == "aba"
    assert bench.times("b") == [1.1]


def test_the_youngest_gives_way_even_to_its_own_need():
    bench = Bench(kv_blocks=4, block_size=4)
    bench.submit("a", 12, prompt="hello")
    bench.submit("b", 12, prompt="hello world")
    bench.timers.settle()
    assert bench.engine.stats.preemptions >= 1
    assert (bench.order.count("a"), bench.order.count("b")) == (12, 12)
