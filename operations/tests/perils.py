"""What befalls processes and their requests: time passes, they die at any step, sleep at the wire, arrive late.

The clock is ours: `timezone.now` runs ahead of the machine's by `offset`, and what is sent is translated to the
exchange's time when it leaves. So a request that was signed long ago is as old for the exchange as it is for us.
"""

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connections
from django.utils import timezone

from exchange import bingx
from exchange.bingx import BingX
from exchange.errors import ExchangeError, OutcomeUnknown, RateLimited
from exchange.refusals import Deed
from exchange.snowflakes import made_at
from exchange.wire import Wire
from operations import reconcile, tasks
from pelusa import doorbell

MILLISECOND = timedelta(milliseconds=1)
# Dying here differs in nothing from dying at the statement before
NO_STEPS = ("SAVEPOINT", "RELEASE", "ROLLBACK", "BEGIN")


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it, and what was not committed is rolled back."""


class Sleeper(threading.Thread):
    """A process that falls asleep before or after one of its requests, and goes on as if no time had passed."""

    def __init__(self, deed: Callable[[], object], steps: int) -> None:
        super().__init__(daemon=True)
        self._deed = deed
        self.steps = steps
        self._is_quiet = threading.Event()
        self._may_go_on = threading.Event()
        self._error: BaseException | None = None

    def begin(self) -> bool:
        """Let it run until it sleeps or has ended; return whether it sleeps."""
        self.start()
        return self._wait()

    def wake(self) -> None:
        """Let it run to its end."""
        self._is_quiet.clear()
        self._may_go_on.set()
        self._wait()
        self.join(30)

    def step(self) -> None:
        """Sleep here when it is time to; called at the wire, where no transaction is open."""
        self.steps -= 1
        if self.steps == 0:
            self._is_quiet.set()
            assert self._may_go_on.wait(600), "nobody woke a sleeping process"

    def run(self) -> None:
        try:
            self._deed()
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that wakes it
            self._error = error
        finally:
            connections.close_all()
            self._may_go_on.set()
            self._is_quiet.set()

    def _wait(self) -> bool:
        assert self._is_quiet.wait(60), "a process hangs"
        if self._error:
            raise self._error
        return not self._may_go_on.is_set()


class Perils:
    """All that can go wrong with our own processes, switched from the test."""

    def __init__(self) -> None:
        self.bells: deque[tuple[str, int]] = deque()
        self.tally: Counter[str] = Counter()
        self.forget()

    def forget(self) -> None:
        """Let everything be well again, as at the beginning."""
        self.turns: list[tuple[datetime, timedelta]] = []
        self.offset = timedelta(0)
        self.bells.clear()
        self.sleepers: list[Sleeper] = []
        self.late: list[Callable[[], object]] = []
        self.calm()

    def calm(self) -> None:
        """Let nothing further go wrong; who sleeps goes on sleeping."""
        self.steps_to_death = 0
        self.steps_to_sleep = 0
        self.is_next_order_late = False
        self._is_mortal = False

    @contextmanager
    def installed(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Put the perils into the way of every statement and every request of this process."""
        monkeypatch.setattr(timezone, "now", self.now)
        monkeypatch.setattr(Wire, "call", self._perilous(Wire.call))
        monkeypatch.setattr(reconcile, "made_at", self.made_at)
        # Who sleeps is another process than who works meanwhile
        monkeypatch.setattr(tasks, "alone", lambda deed, row_id: nullcontext(True))
        monkeypatch.setattr(bingx, "READ_PAUSES", (0.0, 0.0))
        for name in ("fills", "past_orders"):
            monkeypatch.setattr(BingX, name, self._since_their_time(getattr(BingX, name)))
        monkeypatch.setattr(
            doorbell._doorbell, "ring", lambda task, row_id, group="": self.bells.append((task, row_id))
        )
        with ExitStack() as stack:
            for alias in ("default", "alarms"):
                stack.enter_context(connections[alias].execute_wrapper(self._before_statement))
            yield

    @property
    def offset(self) -> timedelta:
        return self.turns[-1][1]

    @offset.setter
    def offset(self, offset: timedelta) -> None:
        self.turns.append((datetime.now(UTC), offset))

    def now(self) -> datetime:
        return datetime.now(UTC) + self.offset

    def made_at(self, exchange_order_id: str) -> datetime | None:
        """Return by our clock, as it was then, when the exchange gave an id out."""
        made = made_at(exchange_order_id)
        return made and made + next((offset for moment, offset in reversed(self.turns) if moment <= made), timedelta(0))

    def run(self, deed: Callable[[], object]) -> bool:
        """Run what one process does, with the perils that wait; return whether it was not killed."""
        if self.steps_to_sleep:
            return self._run_until_asleep(deed)
        self._is_mortal = True
        try:
            deed()
        except Killed:
            self.tally["deaths"] += 1
            return False
        finally:
            self._is_mortal = False
        return True

    def _run_until_asleep(self, deed: Callable[[], object]) -> bool:
        sleeper = Sleeper(deed, self.steps_to_sleep)
        if sleeper.begin():
            self.sleepers.append(sleeper)
            self.tally["sleeps"] += 1
        self.steps_to_sleep = sleeper.steps
        return True

    def deliver_late(self) -> None:
        """Let every request arrive that was still on its way."""
        while self.late:
            try:
                self.late.pop(0)()
            except ExchangeError:
                continue

    def wake_all(self) -> None:
        while self.sleepers:
            self.sleepers.pop(0).wake()

    def _step(self) -> None:
        if self._is_mortal and self.steps_to_death:
            self.steps_to_death -= 1
            if not self.steps_to_death:
                raise Killed

    def _step_at_wire(self) -> None:
        process = threading.current_thread()
        if isinstance(process, Sleeper):
            process.step()
        else:
            self._step()

    def _before_statement(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Mapping[str, Any]
    ) -> Any:
        if not sql.startswith(NO_STEPS):
            self._step()
        return execute(sql, params, many, context)

    def _perilous(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(
            wire: Wire, method: str, path: str, parameters: Mapping[str, str], *, deed: Deed, **how: bool
        ) -> dict[str, Any]:
            open_ones = [each.alias for each in connections.all(initialized_only=True) if each.in_atomic_block]
            assert not open_ones, f"{path} inside a transaction"
            # An order is signed with our clock, all else with the machine's
            stamped_at = timedelta(0) if deed is Deed.SUBMIT else self.offset

            def send() -> dict[str, Any]:
                said = self._in_their_time(parameters, self.offset - stamped_at)
                return dict(real(wire, method, path, said, deed=deed, **how))

            self._step_at_wire()
            if deed is Deed.SUBMIT and self.is_next_order_late:
                self.is_next_order_late = False
                self.late.append(send)
                self.tally["late orders"] += 1
                raise OutcomeUnknown("it is still on its way")
            try:
                return send()
            except RateLimited as limit:
                if limit.retry_at:
                    limit.retry_at += self.offset
                raise
            finally:
                self._step_at_wire()

        return call

    def _in_their_time(self, parameters: Mapping[str, str], age: timedelta) -> dict[str, str]:
        if "timestamp" not in parameters:
            return dict(parameters)
        return {**parameters, "timestamp": str(int(parameters["timestamp"]) - age // MILLISECOND)}

    def _since_their_time(self, real: Callable[..., Any]) -> Callable[..., Any]:
        """The exchange's past is dated by the machine's clock."""

        def ask(client: BingX, *args: Any, start: datetime, **how: Any) -> Any:
            return real(client, *args, start=start - self.offset, **how)

        return ask
