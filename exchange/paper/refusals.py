"""How this exchange says no: BingX's codes and words.

Codes: https://bingx-api.github.io/docs-v3/#/en/Swap/Trades%20Endpoints and recorded answers; a text is BingX's own
where one was recorded.
"""

from __future__ import annotations

from decimal import Decimal

from exchange.paper.wire import plain

RATE_LIMITED = 100410


class Refusal(Exception):
    """A business answer with a code that is not 0; HTTP 200 unless said otherwise."""

    def __init__(self, code: int, message: str, http_status: int = 200) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.http_status = http_status


def bad_parameter(detail: str) -> Refusal:
    return Refusal(109400, f"Invalid parameters, err:{detail}")


def missing(name: str) -> Refusal:
    return bad_parameter(f"{name}: This field is required.")


def unknown_symbol(symbol: str) -> Refusal:
    return Refusal(109425, f"{symbol} not exist, please verify it in api: GET /openApi/swap/v2/quote/contracts")


def no_such_order() -> Refusal:
    return Refusal(109421, "order not exist")


def already_final(status: str) -> Refusal:
    return Refusal(109422, f"the order is {status} or does not exist")


def wrong_signature() -> Refusal:
    return Refusal(100001, "Signature verification failed due to signature mismatch")


def no_signature() -> Refusal:
    return Refusal(100412, "Null signature")


def unknown_key() -> Refusal:
    return Refusal(100413, "Incorrect apiKey, please check your valid api key and try again")


def no_permission() -> Refusal:
    text = "Permission denied, the API key was created without the permission, please check the key's permissions"
    return Refusal(100004, text)


def foreign_address(address: str) -> Refusal:
    return Refusal(
        100419, f"your current request IP: {address} does not match IP whitelist, please go to API page to verify"
    )


def stale_timestamp() -> Refusal:
    return Refusal(100421, "timestamp is invalid: Null timestamp or timestamp mismatch")


def unknown_route() -> Refusal:
    return Refusal(100400, "this api is not exist, please refer to the API docs https://bingx-api.github.io/docs-v3")


def duplicate_client_id() -> Refusal:
    return Refusal(101400, "clientOrderID unique check failed")


def duplicate_within_a_second() -> Refusal:
    return Refusal(109201, "The same order number is only allowed to be submitted once within 1 second")


def insufficient_margin() -> Refusal:
    return Refusal(101204, "Insufficient margin")


def nothing_to_close() -> Refusal:
    return Refusal(101205, "No position to close")


def no_position() -> Refusal:
    return Refusal(109420, "position not exist")


def more_than_available(available: Decimal, asset: str) -> Refusal:
    return Refusal(110424, f"The order size must be less than the available amount of {plain(available)} {asset}")


def below_minimum(minimum: Decimal, asset: str) -> Refusal:
    return Refusal(101400, f"The minimum order amount is {plain(minimum)} {asset}.")


def below_notional(minimum: Decimal) -> Refusal:
    text = f"Please ensure that the minimum nominal value of the order placed must be greater than {plain(minimum)}u"
    return Refusal(110422, text)


def one_way_needs_both() -> Refusal:
    return Refusal(109400, "In the One-way mode, the 'PositionSide' field can only be set to BOTH.")


def hedge_needs_a_side() -> Refusal:
    return Refusal(109400, "In the Hedge mode, the 'PositionSide' field can only be set to LONG or SHORT.")


def hedge_knows_no_reduce_only() -> Refusal:
    return Refusal(109400, "In the Hedge mode, the 'ReduceOnly' field can not be filled.")


def nothing_to_reduce() -> Refusal:
    return Refusal(101290, "Reduce only order can only decrease the position size")


def would_take() -> Refusal:
    return Refusal(
        101215,
        "The Maker (Post Only) order made will be transacted with available orders immediately and will be cancelled.",
    )


def leverage_too_high(maximum: int) -> Refusal:
    return Refusal(101414, f"The maximum leverage is {maximum}x. Please reduce the leverage.")


def margin_type_is_busy() -> Refusal:
    return Refusal(109424, "Please close positions and cancel orders of this pair before changing the margin type")


def position_mode_is_busy() -> Refusal:
    return Refusal(104103, "The position mode cannot be changed while there are open positions or pending orders")


def wrong_stop_price(is_take_profit: bool, must_be_above: bool, price: Decimal) -> Refusal:
    if is_take_profit:
        code, name = (110413 if must_be_above else 110414), "Take Profit"
    else:
        code, name = (110412 if must_be_above else 110411), "Stop Loss"
    relation = "greater" if must_be_above else "less"
    return Refusal(code, f"The {name} price must be {relation} than the current price of {plain(price)}")


def close_position_exists(is_take_profit: bool) -> Refusal:
    name = "Take Profit" if is_take_profit else "Stop Loss"
    return Refusal(110407 if is_take_profit else 110406, f"A {name} order for the whole position already exists")


def insufficient_spot_balance(asset: str) -> Refusal:
    return Refusal(100202, f"Insufficient {asset} assets")


def too_many_errors(code: int, until_ms: int) -> Refusal:
    return Refusal(
        RATE_LIMITED,
        f"code:{RATE_LIMITED}:over 20 error code:{code} requests within 480000 ms for this api, please verify and fix "
        f"it, can retry after time: {until_ms}",
    )


def rate_limited(path: str, unblocked_ms: int) -> Refusal:
    return Refusal(
        RATE_LIMITED,
        f"code:{RATE_LIMITED}:the endpoint {path} is currently in the disabled period and will be unblocked "
        f"after {unblocked_ms}",
    )
