"""An exchange with nothing but candles, in this process, that answers as badly as a test wants."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from exchange.bingx import BingX
from exchange.errors import OutcomeUnknown, RateLimited
from exchange.phrasing import ROUTES, Parameters, written
from exchange.types import Market
from market.models import Kline, Series


class Killed(BaseException):
    """The process ends here: nothing that follows is done."""


def milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


@dataclass
class CandleExchange:
    """Candles are a pure function of their open time; faults are drawn from `chance` with the odds of `odds`.

    Answers about the symbol `untouched` are always right.

    Its client is the real one but for the network and the patience with lost answers.
    """

    step: timedelta = timedelta(minutes=1)
    page: int = 1000
    holes: set[int] = field(default_factory=set)
    revised: dict[int, int] = field(default_factory=dict)
    began: datetime | None = None
    chance: random.Random = field(default_factory=random.Random)
    odds: dict[str, float] = field(default_factory=dict)
    untouched: str = ""
    meanwhile: Callable[[], object] | None = None
    asked: list[dict[str, str]] = field(default_factory=list)
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def client(self) -> BingX:
        return _Client(self)

    def answer(self, parameters: dict[str, str]) -> dict[str, Any]:
        """Answer one request for candles."""
        self.asked.append(dict(parameters))
        self._fail_perhaps("killed_before", "lost", "busy", "limited")
        rows = self._rows(int(parameters["startTime"]), int(parameters["endTime"]), parameters)
        rows = rows if parameters["symbol"] == self.untouched else self._spoil(rows)
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile:
            meanwhile()
        self._fail_perhaps("killed_after", "lost_after")
        return {"code": 0, "data": rows}

    def truth(self, start: datetime, stop: datetime) -> list[tuple[datetime, tuple[Decimal, ...]]]:
        """Return every closed candle that it has, as the store must have it."""
        found = []
        for ms in range(milliseconds(start), milliseconds(stop), self._step_ms):
            if self._has(ms):
                row = self._row(ms)
                values = tuple(Decimal(row[name]) for name in ("open", "high", "low", "close", "volume"))
                found.append((datetime.fromtimestamp(ms / 1000, UTC), values))
        return found

    @property
    def _step_ms(self) -> int:
        return self.step // timedelta(milliseconds=1)

    def _has(self, ms: int) -> bool:
        return ms not in self.holes and (self.began is None or ms >= milliseconds(self.began))

    def _rows(self, start: int, end: int, parameters: dict[str, str]) -> list[dict[str, Any]]:
        """Return the newest rows of the range, newest first, the running one among them."""
        now = milliseconds(self.now())
        newest = min(end - 1, now) // self._step_ms * self._step_ms
        times = (ms for ms in range(newest, max(start, newest - 4000 * self._step_ms), -self._step_ms) if self._has(ms))
        most = min(int(parameters["limit"]), self.page)
        return [self._row(ms, is_running=ms + self._step_ms > now) for ms, _ in zip(times, range(most), strict=False)]

    def _row(self, ms: int, *, is_running: bool = False) -> dict[str, Any]:
        number = ms // self._step_ms % 9973 + self.revised.get(ms, 0)
        low = 50_000 + number
        return {
            "open": f"{low + 1}.5",
            "close": f"{low + 2}.1234567891" if not is_running else f"{low + 1}.7",
            "high": f"{low + 9}.0",
            "low": f"{low}.1",
            "volume": f"{number % 7}.{number % 10}" if not is_running else "0.0001",
            "time": ms,
        }

    def _happens(self, fault: str) -> bool:
        return self.chance.random() < self.odds.get(fault, 0)

    def _fail_perhaps(self, *faults: str) -> None:
        for fault in faults:
            if self._happens(fault):
                failure = _FAILURES[fault]()
                raise failure

    def _spoil(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if self._happens("truncated"):
            rows = rows[: self.chance.randint(0, len(rows))]
        if self._happens("gappy"):
            rows = [row for row in rows if self.chance.random() < 0.9]
        if self._happens("repeated") and rows:
            rows = rows + self.chance.choices(rows, k=3)
        if self._happens("reversed"):
            rows = rows[::-1]
        if self._happens("shuffled"):
            rows = self.chance.sample(rows, len(rows))
        if self._happens("future"):
            rows = [self._row(milliseconds(self.now()) // self._step_ms * self._step_ms + 5 * self._step_ms), *rows]
        if self._happens("garbage") and rows:
            rows = [*rows[:-1], rows[-1] | {"close": "1.0000000000001"}]
        return rows


class _Client(BingX):
    def __init__(self, exchange: CandleExchange) -> None:
        super().__init__(base_url="http://127.0.0.1:9")
        self._exchange = exchange

    def _read(self, path: str, parameters: Parameters | None = None, **options: Any) -> dict[str, Any]:
        assert path == ROUTES[Market.USDTM].klines
        return self._exchange.answer(written(parameters or {}))


_FAILURES: dict[str, Callable[[], BaseException]] = {
    "killed_before": Killed,
    "killed_after": Killed,
    "lost": lambda: OutcomeUnknown("no answer"),
    "lost_after": lambda: OutcomeUnknown("no answer"),
    "busy": lambda: OutcomeUnknown("busy", code="109500"),
    "limited": lambda: RateLimited("too many requests", code="100410"),
}


def stored(series: Series, start: datetime, stop: datetime) -> list[tuple[datetime, tuple[Decimal, ...]]]:
    """Return what the store has, oldest first."""
    rows = Kline.objects.filter(series=series, open_time__gte=start, open_time__lt=stop).order_by("open_time")
    columns = ("open_time", "open", "high", "low", "close", "volume")
    return [(row[0], row[1:]) for row in rows.values_list(*columns)]
