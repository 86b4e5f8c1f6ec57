"""Candles as the database writes them: every digit that was stored, and no other."""

import json
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from exchange.rounding import plain
from market.models import Kline, Series
from market.tests.making import T0, make_klines
from market.writing import NUMBERS, Written, WrittenWithSeries, array, document
from pelusa.testing import DATABASES

pytestmark = pytest.mark.django_db(databases=DATABASES)

ODD = ["0", "1", "100", "1000000", "0.1", "0.000000000001", "0.00000123", "1e-7", "99999999999.9999", "123456789012345"]
ODD += ["1234567890123.45", "0.100000000000", "50000.10", "10.000000000001", "9007199254740.99", "999999999999999"]


def written(series: Series, kind: type[Written] = Written) -> list[dict[str, object]]:
    rows = Kline.objects.filter(series=series).order_by("open_time").values_list(kind(), flat=True)
    return list(json.loads(array(rows)))


def test_decimal_in_is_decimal_out_in_plain_digits(series: Series) -> None:
    make_klines(series, len(ODD), volume=ODD.__getitem__)
    assert [row["volume"] for row in written(series)] == [plain(Decimal(text)) for text in ODD]


def test_any_number_of_fifteen_digits_comes_back_unchanged(series: Series) -> None:
    chance = random.Random(20260101)
    texts = [str(Decimal(chance.randrange(10**15)).scaleb(-chance.randrange(13))) for _ in range(2000)]
    make_klines(series, len(texts), volume=texts.__getitem__)
    assert [Decimal(str(row["volume"])) for row in written(series)] == [Decimal(text) for text in texts]


def test_a_candle_is_told_with_its_time_in_milliseconds(series: Series) -> None:
    make_klines(series, 1)
    [row] = written(series)
    assert row == {"time": int(T0.timestamp() * 1000)} | dict(
        zip(NUMBERS, ("10", "12.5", "9", "11", "0.5"), strict=True)
    )


def test_a_candle_is_told_with_its_series_and_its_time_in_utc(series: Series) -> None:
    make_klines(series, 1)
    [row] = written(series, WrittenWithSeries)
    assert (row["series"], row["open_time"], row["close"]) == (series.pk, "2024-01-01T00:00:00Z", "11")


def test_times_far_away_are_told_exactly(series: Series) -> None:
    moments = [datetime(1970, 1, 1, tzinfo=UTC), datetime(2038, 1, 20, tzinfo=UTC), datetime(2199, 12, 31, tzinfo=UTC)]
    for moment in moments:
        make_klines(series, 1, start=moment)
    assert [row["time"] for row in written(series)] == [
        moment // timedelta(milliseconds=1) for moment in (each - moments[0] for each in moments)
    ]


def test_a_document_is_json_with_or_without_candles() -> None:
    assert json.loads(document({"symbol": "BTC-USDT", "complete": True}, "data", [])) == {
        "symbol": "BTC-USDT",
        "complete": True,
        "data": [],
    }
    assert json.loads(document({}, "data", ['{"time":1}', '{"time":2}'])) == {"data": [{"time": 1}, {"time": 2}]}
