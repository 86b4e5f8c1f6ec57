"""What should stand for an operation: the right quantity, the right trigger, and no more than that."""

from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.types import Market
from operations.cover import Cover, Distances, Held, Placed, Role, average_price, compare, plan
from operations.models import Order

TICK, STEP = D("0.1"), D("0.0001")
STOP, TARGET = Role.STOP_LOSS, Role.TAKE_PROFIT


def held(entry_id: int = 1, price: str = "50000", left: str = "0.01", entered: str | None = None) -> Held:
    return Held(entry_id, D(price), D(entered or left), D(left))


def planned(entries: list[Held], leg: str = "long", market: Market = Market.USDTM, **percents: str) -> list[Cover]:
    distances = Distances(**{name: D(percent) for name, percent in percents.items()})
    return plan(entries, distances, leg, market, tick=TICK, step=STEP)


def triggers(covers: list[Cover], role: Role = STOP) -> list[D]:
    return [each.trigger_price for each in covers if each.role is role]


def test_the_roles_are_spelt_as_in_the_orders() -> None:
    assert {role.value for role in Role} == {Order.Role.STOP_LOSS.value, Order.Role.TAKE_PROFIT.value}


def test_a_leg_that_asks_for_nothing_gets_nothing() -> None:
    assert planned([held()]) == []


@pytest.mark.parametrize(("leg", "stop", "target"), [("long", "49000", "52000"), ("short", "51000", "48000")])
def test_a_stop_lies_against_the_leg_and_a_target_with_it(leg: str, stop: str, target: str) -> None:
    covers = planned([held()], leg, stop_per_order="2", target_per_order="4")
    assert covers == [Cover(1, STOP, D("0.01"), D(stop)), Cover(1, TARGET, D("0.01"), D(target))]


def test_a_percent_per_order_is_of_each_entrys_own_price() -> None:
    covers = planned([held(1, "50000"), held(2, "60000", "0.02")], stop_per_order="10")
    assert covers == [Cover(1, STOP, D("0.01"), D(45000)), Cover(2, STOP, D("0.02"), D(54000))]


def test_a_general_percent_is_of_the_average_of_all_that_is_held() -> None:
    assert triggers(planned([held(1, "50000"), held(2, "60000")], stop_general="10")) == [D(49500), D(49500)]


@pytest.mark.parametrize(("leg", "expected"), [("long", ["49500", "54000"]), ("short", ["55000", "60500"])])
def test_of_two_stops_the_one_that_is_reached_first_counts(leg: str, expected: list[str]) -> None:
    covers = planned([held(1, "50000"), held(2, "60000")], leg, stop_per_order="10", stop_general="10")
    assert triggers(covers) == [D(price) for price in expected]


def test_of_two_targets_the_one_that_is_reached_first_counts() -> None:
    covers = planned([held(1, "50000"), held(2, "60000")], target_per_order="10", target_general="5")
    assert triggers(covers, TARGET) == [D(55000), D(57750)]


def test_what_protection_has_sold_is_not_covered_again() -> None:
    assert planned([held(left="0.004", entered="0.01")], stop_per_order="2")[0].quantity == D("0.004")
    assert planned([held(left="0", entered="0.01")], stop_per_order="2") == []


def test_an_entry_that_is_gone_does_not_count_in_the_average() -> None:
    covers = planned([held(1, "50000", "0", "0.01"), held(2, "40000")], stop_general="10")
    assert triggers(covers) == [D(36000)]


def test_a_target_that_fills_in_parts_moves_no_other_trigger() -> None:
    before = planned([held(1, "50000"), held(2, "60000")], stop_general="10")
    after = planned([held(1, "50000", "0.004", "0.01"), held(2, "60000")], stop_general="10")
    assert triggers(before) == triggers(after)


def test_coin_margined_entries_average_harmonically() -> None:
    assert average_price([held(1, "40000", "1"), held(2, "60000", "1")], Market.COINM) == D(48000)
    assert average_price([held(1, "30000", "7")], Market.COINM) == D(30000)


def test_spot_locks_coins_once_so_the_stop_goes_first() -> None:
    both = planned([held()], market=Market.SPOT, stop_per_order="2", target_per_order="4")
    assert [each.role for each in both] == [STOP]
    assert [each.role for each in planned([held()], market=Market.SPOT, target_per_order="4")] == [TARGET]


def test_crumbs_below_the_step_are_not_covered() -> None:
    assert planned([held(left="0.00009")], market=Market.SPOT, stop_per_order="2") == []
    assert planned([held(left="0.00999")], market=Market.SPOT, stop_per_order="2")[0].quantity == D("0.0099")


def test_the_crumbs_of_several_entries_add_up_to_a_step_that_is_covered() -> None:
    covers = planned([held(1, left="0.00996"), held(2, left="0.00996")], market=Market.SPOT, stop_per_order="2")
    assert [each.quantity for each in covers] == [D("0.0099"), D("0.0100")]
    covers = planned([held(1, left="0.00006"), held(2, left="0.00996")], market=Market.SPOT, stop_per_order="2")
    assert covers == [Cover(2, STOP, D("0.0100"), D(49000))], "the first was sold but for its crumbs"


@pytest.mark.parametrize(("leg", "expected"), [("long", "48999.4"), ("short", "50998.2")])
def test_a_stop_between_two_ticks_goes_to_the_one_that_is_reached_earlier(leg: str, expected: str) -> None:
    price = "49999.31" if leg == "long" else "49998.29"
    assert triggers(planned([held(price=price)], leg, stop_per_order="2")) == [D(expected)]


def test_on_a_coarse_grid_a_stop_is_a_tick_away_and_never_at_the_price_itself() -> None:
    coarse = plan(
        [held(price="0.0010", left="100")], Distances(D(2)), "long", Market.USDTM, tick=D("0.0001"), step=D(1)
    )
    assert triggers(coarse) == [D("0.0009")]


prices = st.decimals(min_value="0.001", max_value="100000", places=6)
quantities = st.decimals(min_value="0.0001", max_value="100", places=4)
percents = st.none() | st.decimals(min_value="0.0001", max_value="99.9999", places=4)
distances = st.builds(Distances, percents, percents, percents, percents)
entries = st.lists(st.tuples(prices, quantities, st.decimals(0, 1, places=2)), min_size=1, max_size=6).map(
    lambda rows: [Held(number, price, entered, entered * part) for number, (price, entered, part) in enumerate(rows, 1)]
)
legs = st.sampled_from(["long", "short"])
ticks = st.sampled_from([D("0.1"), D("0.01"), D("0.00001")])


@given(entries, distances, legs, st.sampled_from(Market), ticks)
def test_covers_never_add_up_to_more_than_is_held(
    held_entries: list[Held], wanted: Distances, leg: str, market: Market, tick: D
) -> None:
    covers = plan(held_entries, wanted, leg, market, tick=tick, step=STEP)
    left = sum((each.left for each in held_entries), D(0))
    for role in Role:
        of_role = [each for each in covers if each.role is role]
        asks = any(wanted.of(role)) and not (market is Market.SPOT and role is TARGET and any(wanted.of(STOP)))
        assert sum((each.quantity for each in of_role), D(0)) == (left // STEP * STEP if asks else 0)
        assert len({each.slot for each in of_role}) == len(of_role)


@given(entries, distances, legs, ticks)
def test_a_trigger_is_on_the_grid_and_not_beyond_either_distance(
    held_entries: list[Held], wanted: Distances, leg: str, tick: D
) -> None:
    """A stop may be reached earlier by its rounding, never later; a target later, never earlier."""
    by_id = {each.entry_id: each for each in held_entries}
    covers = plan(held_entries, wanted, leg, Market.USDTM, tick=tick, step=STEP)
    average = average_price([by_id[each] for each in {cover.entry_id for cover in covers}], Market.USDTM)
    for cover in covers:
        sign = -1 if (cover.role is STOP) == (leg == "long") else 1
        bases = zip(wanted.of(cover.role), (by_id[cover.entry_id].price, average), strict=True)
        exact = [base * (100 + sign * percent) / 100 for percent, base in bases if percent]
        first = max(exact) if sign < 0 else min(exact)
        assert cover.trigger_price > 0
        assert cover.trigger_price % tick == 0
        assert abs(cover.trigger_price - first) <= tick


@given(entries, entries, distances, distances, legs)
def test_doing_what_the_comparison_says_leaves_nothing_to_do(
    before: list[Held], after: list[Held], old: Distances, new: Distances, leg: str
) -> None:
    placed = [
        Placed(number, cover)
        for number, cover in enumerate(plan(before, old, leg, Market.USDTM, tick=TICK, step=STEP), 1)
    ]
    wanted = plan(after, new, leg, Market.USDTM, tick=TICK, step=STEP)
    missing, outdated = compare(wanted, placed)
    kept = [each for each in placed if each not in outdated]
    assert not {each.slot for each in missing} & {each.cover.slot for each in placed}
    missing, again = compare(wanted, kept)
    assert again == []
    standing = kept + [Placed(100 + number, cover) for number, cover in enumerate(missing)]
    assert compare(wanted, standing) == ([], [])
    assert {each.cover for each in standing} == set(wanted)


def test_a_second_order_for_the_same_cover_is_outdated() -> None:
    cover = Cover(1, STOP, D("0.01"), D(49000))
    assert compare([cover], [Placed(1, cover), Placed(2, cover)]) == ([], [Placed(2, cover)])


def test_a_cover_waits_for_the_order_that_takes_its_place() -> None:
    old, new = Cover(1, STOP, D("0.01"), D(49000)), Cover(1, STOP, D("0.02"), D(49000))
    assert compare([new], [Placed(1, old)]) == ([], [Placed(1, old)])
    assert compare([new], []) == ([new], [])
