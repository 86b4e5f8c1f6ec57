"""Account-level addresses: key permissions, balances of all products, the funding account, transfers.

https://bingx-api.github.io/docs-v3/#/en/Account%20and%20Wallet
"""

from __future__ import annotations

from decimal import Decimal

from exchange.paper import refusals
from exchange.paper.books import ZERO, Income
from exchange.paper.calls import Body, Call, endpoint
from exchange.paper.instruments import BY_MARKET
from exchange.paper.prices import COINS
from exchange.paper.spot_market import timed
from exchange.paper.wire import Json
from exchange.types import Market

# BingX's names of the accounts and the market whose wallets they are here; `sopt` is their spelling.
ACCOUNTS = {"sopt": Market.SPOT, "USDTMPerp": Market.USDTM, "coinMPerp": Market.COINM}
FUND = "fund"
TRANSFERS: dict[str, str] = {"spot": Market.SPOT, FUND: FUND, "USDTMPerp": Market.USDTM, "coinMPerp": Market.COINM}


@endpoint("GET", "/v1/account/apiPermissions", group="account")
def permissions(call: Call) -> Body:
    """Without an envelope. 1 spot trade, 2 read, 3 perpetual trade, 4 universal transfer, 5 withdraw."""
    account = call.account
    return {
        "apiKey": account.key,
        "permissions": account.permissions,
        "ipAddresses": account.ip_addresses,
        "note": "paper",
    }


@endpoint("GET", "/account/v1/apiKey/query", group="account")
def key_details(call: Call) -> Body:
    info: dict[str, Json] = permissions(call) | {"status": 0, "createTime": 0, "updateTime": 0}
    return timed(call, {"apiInfos": [info]})


@endpoint("GET", "/account/v1/uid", group="account")
def uid(call: Call) -> Body:
    return timed(call, {"uid": call.account.uid})


@endpoint("GET", "/account/v1/allAccountBalance", group="account")
def all_balances(call: Call) -> Body:
    asked = call.text("accountType")
    names = [name for name in ACCOUNTS if asked in ("", name) or (asked == "spot" and name == "sopt")]
    rows: list[Json] = [{"accountType": name, "usdtBalance": f"{_in_usdt(call, ACCOUNTS[name]):.8f}"} for name in names]
    return timed(call, {"result": rows, "pageId": 1, "total": len(rows)})


def _in_usdt(call: Call, market: Market) -> Decimal:
    """Return what an account is worth; spot and funding are one here, as the name `sopt` stands for both."""
    total, owners = ZERO, {market, FUND} if market == Market.SPOT else {market}
    for name, amount in call.account.wallets.items():
        owner, _, asset = name.partition(":")
        if owner in owners:
            instrument = BY_MARKET[Market.USDTM].get(f"{asset}-USDT")
            total += amount * (call.venue.matcher.price_of(instrument) if instrument else 1)
    return total


@endpoint("GET", "/fund/v1/account/balance", group="account")
def fund_balance(call: Call) -> Body:
    """The funding account: what it and spot know, so that an empty one still has its assets, with 20 decimals."""
    asked, wallets = call.text("asset"), call.account.wallets
    known = sorted({asset for owner, _, asset in (name.partition(":") for name in wallets) if owner in ("spot", FUND)})
    rows: list[Json] = [
        {"asset": asset, "free": f"{call.account.wallet(FUND, asset):.20f}", "locked": f"{ZERO:.20f}"}
        for asset in known
        if asked in ("", asset)
    ]
    return timed(call, {"assets": rows})


@endpoint("GET", "/wallets/v1/capital/config/getall", group="account")
def coins(call: Call) -> Body:
    return timed(call, [_coin(each) for each in ("USDT", "USDC", *(coin for coin in COINS if coin.isalpha()))])


def _coin(name: str) -> Json:
    network: Json = {
        "name": name,
        "network": name if name != "USDT" else "TRC20",
        "isDefault": True,
        "minConfirm": 2,
        "withdrawEnable": False,
        "depositEnable": False,
        "withdrawFee": "0.0006",
        "withdrawMax": "1.17522",
        "withdrawMin": "0.0005",
        "depositMin": "0.0002",
    }
    return {"coin": name, "name": name, "networkList": [network]}


@endpoint("POST", "/api/asset/v1/transfer", group="account")
def transfer(call: Call) -> Body:
    """Move paper money between the accounts of one key."""
    source, target = (call.one_of(name, tuple(TRANSFERS), call.need(name)) for name in ("fromAccount", "toAccount"))
    asset, amount = call.need("asset"), call.amount("amount")
    if amount <= 0:
        raise refusals.missing("amount")
    if amount > _free(call, TRANSFERS[source], asset):
        return {"transferErrorMsg": "Insufficient assets"}
    _move(call, TRANSFERS[source], asset, -amount)
    _move(call, TRANSFERS[target], asset, amount)
    call.venue.ledger.touch(call.account)
    number = call.venue.ledger.new_id()
    return timed(call, {"tranId": number, "transferId": str(number)})


def _move(call: Call, owner: str, asset: str, amount: Decimal) -> None:
    """Credit a wallet; the perpetuals note it as an income, so that nobody takes a deposit for profit."""
    call.account.credit(owner, asset, amount)
    if owner in (Market.USDTM, Market.COINM):
        ledger = call.venue.ledger
        number = ledger.new_id()
        ledger.add(Income(number, call.account.key, Market(owner), "", "TRANSFER", amount, asset, call.now_ms, 0))


def _free(call: Call, owner: str, asset: str) -> Decimal:
    if owner == FUND:
        return call.account.wallet(owner, asset)
    if owner == Market.SPOT:
        return call.account.wallet(owner, asset) - call.venue.locked(call.account, asset)
    return call.venue.matcher.wallet(call.account, Market(owner), asset).available
