from datetime import UTC, datetime, timedelta

import pytest

from exchange.types import KlineText
from market.sheets import UnfitCandle, cells, joined, write_sheet

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
BEGIN_MS = round(BEGIN.timestamp() * 1000)
FAR = BEGIN + timedelta(days=400)


def candle(minutes: int = 0, **numbers: str) -> KlineText:
    texts = {"open": "2", "high": "3", "low": "1", "close": "2.5", "volume": "0"} | numbers
    return BEGIN_MS + 60_000 * minutes, *texts.values()  # type: ignore[return-value]


def test_a_sheet_has_a_line_a_candle_and_knows_its_ends() -> None:
    sheet = write_sheet([candle(0), candle(1, close="60000.100")], "1m", FAR)
    assert sheet.lines == "1704067200\t2\t3\t1\t2.5\t0\n1704067260\t2\t3\t1\t60000.100\t0\n"
    assert (sheet.candles, sheet.start) == (2, BEGIN)
    assert BEGIN + timedelta(minutes=1) < sheet.stop < BEGIN + timedelta(minutes=2)


@pytest.mark.parametrize(
    ("text", "plain"), [("1E-7", "0.0000001"), ("-0", "0"), ("+2.50", "2.5"), ("1" * 16, "1" * 16)]
)
def test_an_unusual_number_is_written_plainly(text: str, plain: str) -> None:
    assert cells(write_sheet([candle(close=text)], "1m", FAR))[0][4] == plain


@pytest.mark.parametrize(
    "text",
    ["0.0000000000001", "1" * 17, "-1", "NaN", "Infinity", "", "1,5", "1_0", "1\n1", "1\t1", "\\N", "1e400", "١"],
)
def test_what_a_column_would_change_is_refused(text: str) -> None:
    with pytest.raises(UnfitCandle):
        write_sheet([candle(0), candle(1, volume=text)], "1m", FAR)


def test_a_line_smuggled_into_a_number_is_refused() -> None:
    smuggled = "1\n1704067320\t9\t9\t9\t9\t9"
    with pytest.raises(UnfitCandle):
        write_sheet([candle(volume=smuggled)], "1m", FAR)


def test_a_candle_that_has_not_closed_is_refused() -> None:
    write_sheet([candle(0)], "1m", BEGIN + timedelta(minutes=1))
    with pytest.raises(UnfitCandle, match="has not closed"):
        write_sheet([candle(0), candle(1)], "1m", BEGIN + timedelta(minutes=1))


@pytest.mark.parametrize(
    ("interval", "minutes"), [("5m", 1), ("1d", 16 * 60), ("1w", 3 * 1440), ("1M", 1440), ("3d", 1440)]
)
def test_a_candle_off_its_grid_is_refused(interval: str, minutes: int) -> None:
    with pytest.raises(UnfitCandle, match="opens at"):
        write_sheet([candle(minutes)], interval, FAR)


@pytest.mark.parametrize(("interval", "minutes"), [("1w", 0), ("1M", 0), ("1M", 31 * 1440), ("1d", 1440)])
def test_a_candle_on_its_grid_is_taken(interval: str, minutes: int) -> None:
    assert write_sheet([candle(minutes)], interval, FAR).candles == 1


@pytest.mark.parametrize("minutes", [(1, 0), (0, 0)])
def test_candles_out_of_order_are_refused(minutes: tuple[int, ...]) -> None:
    with pytest.raises(UnfitCandle, match="order"):
        write_sheet([candle(each) for each in minutes], "1m", FAR)


def test_joined_sheets_ascend() -> None:
    new, old = (write_sheet([candle(place)], "1m", FAR) for place in (1, 0))
    assert [row[0] for row in cells(joined([new, write_sheet([], "1m", FAR), old]))] == ["1704067200", "1704067260"]
