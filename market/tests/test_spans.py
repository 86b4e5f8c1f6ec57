from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from market.spans import Span, back, common, count, merged, questions, without

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SPANS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 20)).map(
        lambda pair: Span(BEGIN + pair[0] * MINUTE, BEGIN + (pair[0] + pair[1]) * MINUTE)
    ),
    max_size=6,
)


def minutes(spans: list[Span]) -> set[datetime]:
    return {span.start + place * MINUTE for span in spans for place in range(count(span, "1m"))}


@given(SPANS, SPANS)
def test_spans_are_sets_of_open_times(some: list[Span], others: list[Span]) -> None:
    assert minutes(merged(some)) == minutes(some)
    assert minutes(common(some, others)) == minutes(some) & minutes(others)
    assert minutes(without(some, others)) == minutes(some) - minutes(others)


@given(SPANS)
def test_merged_spans_do_not_touch(spans: list[Span]) -> None:
    found = merged(spans)
    assert all(one.stop < other.start for one, other in pairwise(found))


@given(SPANS, st.integers(1, 30))
def test_questions_cover_every_gap_newest_first_and_join_only_what_fits_a_page(gaps: list[Span], most: int) -> None:
    asked = questions(gaps, "1m", most)
    assert minutes(asked) >= minutes(gaps)
    assert asked == sorted(asked, reverse=True)
    assert all(count(span, "1m") <= most or span in merged(gaps) for span in asked)
    assert len(asked) <= len(merged(gaps))


def test_a_thousand_gaps_of_a_candle_each_fit_three_pages() -> None:
    gaps = [Span(BEGIN + place * 2 * MINUTE, BEGIN + (place * 2 + 1) * MINUTE) for place in range(1000)]
    assert len(questions(gaps, "1m", 998)) == 3


def test_months_are_counted_by_the_calendar() -> None:
    assert count(Span(datetime(2023, 11, 1, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC)), "1M") == 4
    assert back(datetime(2024, 1, 1, tzinfo=UTC), "1M", 2) == datetime(2023, 11, 1, tzinfo=UTC)
    assert back(datetime(2023, 12, 1, tzinfo=UTC), "1M", -1) == datetime(2024, 1, 1, tzinfo=UTC)
