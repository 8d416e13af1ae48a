"""Limits against a second book: whatever happens in whatever order, nothing leaks and no bound is passed.

The second book is exact and simple: it knows every limit's history and drains buckets at the rate in force.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from app.core.errors import InvalidRequest, QuotaExhausted, RateLimitExceeded, RequestExceedsLimit
from app.core.guard import Lease
from app.core.outcome import ABANDONED, Outcome, Settlement, Usage
from app.core.tenant import UNLIMITED, Key, Limits, Tenant
from app.state.account import CLOCK_ERROR
from app.state.memory import MemoryCounters
from app.tenancy.calendar import Calendar
from app.tenancy.guards import LimitGuard
from app.tenancy.limiter import Limiter, LimiterOptions
from app.wire.surfaces import SURFACES
from tests.clock import FakeClock
from tests.fakes import make_call

ZONE = "Europe/Berlin"
EPS = 1e-3
CONTEXT = 400
"""What a call without max_tokens may take at most."""

MOMENTS = [datetime(2026, 3, 28, 22), datetime(2026, 3, 31, 23, 59), datetime(2026, 10, 24, 23)]
"""Eves of summer time, of a month's end and of winter time."""

few = st.one_of(st.none(), st.integers(0, 20))
tokens = st.one_of(st.none(), st.none(), st.integers(0, 40), st.integers(200, 4000), st.integers(200, 4000))
LIMITS = st.builds(
    Limits,
    requests_per_minute=few,
    tokens_per_minute=tokens,
    concurrency=few,
    tokens_per_day=tokens,
    tokens_per_month=tokens,
    requests_burst=st.one_of(st.none(), st.integers(1, 8)),
    tokens_burst=st.one_of(st.none(), st.integers(100, 900)),
)
SHARES = st.one_of(st.just(0), st.just(1), st.floats(0, 1))
NAMES = ("requests_per_minute", "tokens_per_minute", "concurrency", "tokens_per_day", "tokens_per_month")


@dataclass
class Page:
    """One limit of one subject in the second book. `bound` is what it may not pass until it admits again.

    A bucket drains at the rate in force. Where that changed since the last look, no one knows how much has
    drained but that it is between `rates`: `used` is the least and the most that may be left of it.
    """

    used: tuple[float, float] = (0.0, 0.0)
    reserved: int = 0
    bound: float = 0.0
    rate: float = 0.0
    looked: float = 0.0
    rates: tuple[float, float] = (0.0, 0.0)
    elapsed: float = 0.0
    ends: float = float("inf")
    running: dict[int, float] = field(default_factory=dict)

    def admit(self, number: int, excess: float, limit: float) -> None:
        self.running[number] = excess
        self.bound = limit + sum(self.running.values())

    def at_rate(self, rate: float) -> None:
        self.rate = rate
        self.rates = min(rate, *self.rates), max(rate, *self.rates)

    @property
    def left(self) -> tuple[float, float]:
        (least, most), (slow, fast) = self.used, self.rates
        return max(0.0, least - fast * self.elapsed), max(0.0, most - slow * self.elapsed)

    def book(self, amount: int) -> None:
        self.used = tuple(left + amount for left in self.left)
        self.elapsed = 0.0

    def look(self) -> None:
        self.book(0)
        self.looked = self.rate
        self.rates = self.rate, self.rate


@dataclass
class Running:
    number: int
    lease: Lease
    call: object
    reserved: int
    allowed: int
    prompt: int
    pages: list[tuple[str, Page]]


class Book(RuleBasedStateMachine):
    @initialize(moment=st.sampled_from(MOMENTS), limits=LIMITS, strict=st.booleans())
    def begin(self, moment, limits, strict):
        self.clock = FakeClock(wall=moment.replace(tzinfo=ZoneInfo(ZONE)).timestamp())
        self.jumped = 0.0
        self.latest = self.clock.time()
        self.counters = MemoryCounters(self.clock)
        self.counters._sweep_at = 4
        self.limiter = Limiter(self.counters, self.clock, Calendar(ZONE), LimiterOptions(guess=32))
        self.guard = LimitGuard(self.limiter)
        self.tenants = {name: Tenant(name, name, limits, strict=strict) for name in ("t1", "t2")}
        self.keys = {
            name: Key(name, self.tenants[owner]) for name, owner in (("k1", "t1"), ("k2", "t1"), ("k3", "t2"))
        }
        self.pages: dict[tuple[str, str, float], Page] = {}
        self.running: list[Running] = []
        self.count = 0

    # What operators do

    def _own(self, tenant):
        self.tenants[tenant.id] = tenant
        for name, key in self.keys.items():
            if key.tenant.id == tenant.id:
                self.keys[name] = replace(key, tenant=tenant)

    @rule(
        subject=st.sampled_from(["t1", "t2", "k1", "k2", "k3", "t1/m", "t2/n"]),
        limits=LIMITS,
        strict=st.booleans(),
    )
    def limit(self, subject, limits, strict):
        name, _, model = subject.partition("/")
        if name in self.keys:
            self.keys[name] = replace(self.keys[name], limits=limits)
        elif model:
            self._own(replace(self.tenants[name], model_limits={model: limits}))
        else:
            self._own(replace(self.tenants[name], limits=limits, strict=strict))
        self._rates()

    def _rates(self):
        """While a limit is lifted its bucket drains as it did."""
        for (subject, name, _), page in self.pages.items():
            limit = getattr(self._limits(subject), name)
            if limit is not None and name.endswith("_per_minute"):
                page.at_rate(limit / 60)

    def _limits(self, subject):
        tenant, _, model = subject.partition("/")
        if model:
            return self.tenants[tenant].model_limits.get(model, UNLIMITED)
        return self.tenants[tenant].limits if tenant in self.tenants else self.keys[tenant].limits

    # What callers do

    @rule(
        name=st.sampled_from(["k1", "k2", "k3"]),
        model=st.sampled_from(["m", "n"]),
        prompt=st.one_of(st.just(0), st.integers(0, 60)),
        limit=st.one_of(st.none(), st.just(0), st.integers(0, 60)),
        n=st.integers(1, 3),
        counted=st.integers(0, 90),
        pooled=st.sampled_from([False, False, True]),
        times=st.integers(1, 6),
    )
    def ask(self, name, model, prompt, limit, n, counted, pooled, times):
        for _ in range(times):
            self._ask(name, model, prompt, limit, n, counted, pooled)

    def _ask(self, name, model, prompt, limit, n, counted, pooled):
        key = self.keys[name]
        path = "/v1/embeddings" if pooled else "/v1/chat/completions"
        call = make_call(
            key=key,
            model=model,
            target=model,
            prompt_estimate=prompt,
            completion_limit=None if limit is None else limit * n,
            n=n,
            surface=SURFACES[path],
            started_at=self.clock.time(),
        )
        lease = Lease()
        pages = self._pages(key, model)
        taken = self._reservation(call, pages)
        fits = isinstance(taken, int) and all(
            self._fits(name, page, taken, limit) for name, page, limit in pages
        )
        try:
            done(lease.take(call, [self.guard]))
        except (RateLimitExceeded, QuotaExhausted) as error:
            lease.settle(ABANDONED)
            assert not fits
            for _, page, _ in pages:
                page.look()
            refused = [d for d in call.decisions if not d.allowed]
            assert error.retry_after == max(d.retry_after for d in refused) > 0
            assert error.retry_after <= 60 or isinstance(error, QuotaExhausted)
            return
        except (RequestExceedsLimit, InvalidRequest) as error:
            lease.settle(ABANDONED)
            assert type(error) is taken
            return
        assert isinstance(taken, int)
        self.count += 1
        allowed = 0 if pooled else CONTEXT * n if limit is None else limit * n
        self._note(call, lease, taken, counted, allowed, pages)

    def _note(self, call, lease, taken, real_prompt, allowed, pages):
        for name, page, limit in pages:
            cost, excess = (taken, max(0, real_prompt + allowed - taken)) if of_tokens(name) else (1, 0)
            page.look()
            if name == "requests_per_minute":
                page.book(1)
            else:
                page.reserved += cost
            page.admit(self.count, excess, limit)
        named = [(name, page) for name, page, _ in pages]
        self.running.append(Running(self.count, lease, call, taken, allowed, real_prompt, named))

    def _pages(self, key, model):
        """The limits of a call with their pages: name, page, how much fits in."""
        windows = Calendar(ZONE).windows(self.clock.time())
        found = []
        for subject in (key.tenant.id, key.id, f"{key.tenant.id}/{model}"):
            limits = self._limits(subject)
            for name in NAMES:
                limit = getattr(limits, name)
                if limit is None:
                    continue
                window = {"tokens_per_day": windows.day, "tokens_per_month": windows.month}.get(name)
                place = (subject, name, window.start if window else 0.0)
                rate = limit / 60 if name.endswith("_per_minute") else 0.0
                ends = window.end if window else float("inf")
                page = self.pages.setdefault(place, Page(rate=rate, rates=(rate, rate), ends=ends))
                burst = getattr(limits, f"{name.removesuffix('_per_minute')}_burst", None)
                found.append((name, page, burst if burst and limit else limit))
        return found

    def _reservation(self, call, pages):
        """Tokens, or the error of a call that no waiting helps."""
        wholes = [limit for name, _, limit in pages if of_tokens(name)]
        if not wholes:
            return 0
        strict, limit = call.key.tenant.strict, call.completion_limit
        expected = self.limiter._answers.expected(call.key.tenant.id, call.target) * call.choices
        if call.surface.dialect == "pooling":
            answer = 0
        elif strict and limit is None:
            return InvalidRequest
        elif limit is None:
            answer = expected
        else:
            answer = limit if strict else min(limit, expected)
        whole, needed = min(wholes), call.prompt_estimate + answer
        if not whole or (call.prompt_estimate if limit is None else needed) > whole:
            return RequestExceedsLimit
        return min(needed, whole)

    @staticmethod
    def _fits(name, page, taken, limit):
        return page.left[1] + page.reserved + (taken if of_tokens(name) else 1) <= limit - EPS

    # What becomes of calls

    def _end(self, data, share, outcome, *, billed, again=False):
        running = self.running.pop(int(data * (len(self.running) - 1)))
        usage = Usage(running.prompt, int(share * running.allowed))
        ended = Settlement(outcome, usage, billed=billed)
        running.lease.settle(ended)
        if again:
            running.lease.settle(ended)
        for name, page in running.pages:
            del page.running[running.number]
            if of_tokens(name):
                page.reserved -= running.reserved
                page.book(usage.total if billed else 0)
            elif name == "concurrency":
                page.reserved -= 1

    @precondition(lambda self: self.running)
    @rule(which=st.floats(0, 1), share=SHARES, again=st.booleans())
    def finish(self, which, share, again):
        self._end(which, share, Outcome.SUCCESS, billed=True, again=again)

    @precondition(lambda self: self.running)
    @rule(which=st.floats(0, 1), share=SHARES, outcome=st.sampled_from(Outcome), billed=st.booleans())
    def break_off(self, which, share, outcome, billed):
        self._end(which, share, outcome, billed=billed)

    # What time does

    @rule(seconds=st.one_of(st.floats(0.1, 5), st.floats(0, 60), st.sampled_from([60, 3600, 100_000])))
    def wait(self, seconds):
        self.clock.advance(seconds)
        for page in self.pages.values():
            page.elapsed += seconds
        self.latest = max(self.latest, self.clock.time())
        self.counters._sweep_at = 4

    @rule(to=st.sampled_from([-3600.0, 0.0, 3600.0]))
    def set_the_clock(self, to):
        """The wall clock is an hour off, or right again; durations are not touched."""
        self.clock.wall += to - self.jumped
        self.jumped = to
        self.latest = max(self.latest, self.clock.time())

    # What holds at all times

    @invariant()
    def no_bound_is_passed(self):
        for place, page in getattr(self, "pages", {}).items():
            assert page.left[0] + page.reserved <= page.bound + EPS, (place, page)

    @invariant()
    def both_books_say_the_same(self):
        """A period long over may be forgotten and begun anew by a call that ends so late: nobody asks it."""
        for (subject, name, start), page in getattr(self, "pages", {}).items():
            key = f"{subject}:{name}"
            account = self.counters._accounts.get((key, start) if start else key)
            least, most = page.left
            if account is None:
                assert not page.reserved
                assert least <= EPS or self.clock.time() >= page.ends
                continue
            assert account.reserved == page.reserved, key
            drained = (self.clock.now - account.at) * page.looked
            used = max(0.0, account.used - drained)
            assert used <= most + EPS, key
            assert least - EPS <= used or self.latest >= page.ends + CLOCK_ERROR, key
            assert used + account.reserved <= page.bound + EPS, key

    @invariant()
    def only_what_runs_is_reserved(self):
        if not getattr(self, "running", True):
            assert self.counters.reserved == 0

    def teardown(self):
        while getattr(self, "running", None):
            self._end(0, 0.5, Outcome.SUCCESS, billed=True)
        if hasattr(self, "counters"):
            self.both_books_say_the_same()
            assert self.counters.reserved == 0


def of_tokens(name):
    return name.startswith("tokens_")


def done(coroutine):
    """Counting in this process never waits."""
    with pytest.raises(StopIteration) as stopped:
        coroutine.send(None)
    return stopped.value.value


Book.TestCase.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
TestBook = Book.TestCase
