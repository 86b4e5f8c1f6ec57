"""One way to get candles from an exchange into the table: `python -m bench.filling WAY FIRST CANDLES`.

It runs in the environment of the system whose table it fills; FIRST is the first open time in minutes since 1970.
Print, as JSON, how many candles were stored, in how many seconds, and the most memory that it ever had, in MiB.
"""

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import django
import requests

SYMBOL, INTERVAL = "BTC-USDT", "1m"
PAGE = 1000
PAGES_A_FILE = 20
MINUTE = timedelta(minutes=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NUMBERS = ("open", "high", "low", "close", "volume")

Candles = list[dict[str, Any]]


def fetched(first: int, candles: int) -> Iterator[Candles]:
    """Yield pages, oldest first, as `requests` and `json` read them and with no check at all."""
    from django.conf import settings

    session = requests.Session()
    session.trust_env = False
    url = f"{settings.BINGX_PAPER_URL}/openApi/swap/v3/quote/klines"
    for begin in range(first, first + candles, PAGE):
        end = min(begin + PAGE, first + candles)
        times = f"startTime={begin * 60_000}&endTime={end * 60_000 - 1}"
        asked = f"{url}?symbol={SYMBOL}&interval={INTERVAL}&limit={PAGE}&{times}"
        page: Candles = json.loads(session.get(asked, timeout=30).content)["data"]
        page.reverse()
        yield page


def by_backfill(first: int, candles: int) -> int:
    """Fill as Pelusa does."""
    from market import backfill

    since = EPOCH + first * MINUTE
    row = backfill.ask_for(series_named(SYMBOL), since, until=since + candles * MINUTE)
    assert backfill.run(row), row.error
    return int(row.rows)


def by_load_data(first: int, candles: int) -> int:
    """Fill with the fastest statement that the server has, files of 20 pages, while the next pages are fetched."""
    series, pages = series_named("LOAD-USDT"), fetched(first, candles)
    stored = 0
    with ThreadPoolExecutor(1) as ahead:
        coming = ahead.submit(_file_of, pages)
        while text := coming.result():
            coming = ahead.submit(_file_of, pages)
            stored += _load(series.pk, text)
    return stored


def _file_of(pages: Iterator[Candles]) -> bytes:
    rows = [
        f"{row['time'] // 1000}\t{row['open']}\t{row['high']}\t{row['low']}\t{row['close']}\t{row['volume']}\n"
        for page in islice(pages, PAGES_A_FILE)
        for row in page
    ]
    return "".join(rows).encode()


LOAD = (
    "LOAD DATA LOCAL INFILE %s INTO TABLE market_kline CHARACTER SET ascii"
    " (@second, `open`, `high`, `low`, `close`, `volume`)"
    " SET series_id = %s, open_time = TIMESTAMP'1970-01-01 00:00:00' + INTERVAL @second SECOND"
)


def _load(series: int, text: bytes) -> int:
    from django.db import connections

    with tempfile.TemporaryFile() as file, connections["market"].cursor() as cursor:
        file.write(text)
        file.flush()
        file.seek(0)
        cursor.execute(LOAD, [f"/dev/fd/{file.fileno()}", series])
        return int(cursor.rowcount)


def by_bulk_create(first: int, candles: int) -> int:
    """Fill with Django's own upsert, a page a statement."""
    from market.models import Kline

    series, stored = series_named("BULK-USDT"), 0
    unique = [] if _is_mysql() else ["series", "open_time"]
    for page in fetched(first, candles):
        rows = [Kline(**columns) for columns in _columns(series, page)]
        Kline.objects.bulk_create(rows, update_conflicts=True, update_fields=NUMBERS, unique_fields=unique)
        stored += len(rows)
    return stored


def by_create(first: int, candles: int) -> int:
    """Fill row by row."""
    from market.models import Kline

    series, stored = series_named("CREATE-USDT"), 0
    for page in fetched(first, candles):
        for columns in _columns(series, page):
            Kline.objects.create(**columns)
            stored += 1
    return stored


def _columns(series: Any, page: Candles) -> Iterator[dict[str, Any]]:
    for row in page:
        opened = datetime.fromtimestamp(row["time"] / 1000, UTC)
        yield {"series": series, "open_time": opened} | {name: row[name] for name in NUMBERS}


def _is_mysql() -> bool:
    from django.db import connections

    return connections["market"].vendor == "mysql"


def series_named(symbol: str) -> Any:
    from market.models import Series

    return Series.objects.get_or_create(market="usdtm", symbol=symbol, interval=INTERVAL)[0]


WAYS: dict[str, Callable[[int, int], int]] = {
    "backfill": by_backfill,
    "load_data": by_load_data,
    "bulk_create": by_bulk_create,
    "create": by_create,
}


def main(way: str, first: int, candles: int) -> None:
    django.setup()
    # The connections are there, and the exchange's clock is known, before the time is taken
    series_named(SYMBOL)
    from market.paging import exchange_now

    exchange_now()
    began = time.perf_counter()
    stored = WAYS[way](first, candles)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"stored": stored, "seconds": seconds, "peak": peak}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
