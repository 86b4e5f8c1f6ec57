"""Make the accounts and strategies that a bench trades with: `python -m bench.books`, in a system's environment.

Print, as JSON, the account, strategies and lanes that the stock is written for.
"""

import json
from decimal import Decimal

import django

from bench.stock import TICKERS

CROWD = 10
# About a hundred USDT of each coin, well above what the exchange takes at least
SIZES = ("0.002", "0.03", "1", "1", "300", "200", "1", "10", "1000", "10")


def main() -> None:
    django.setup()
    from operations.comparison import compare_positions
    from operations.models import Lane
    from pelusa.testing import list_instruments, make_account, make_strategy

    list_instruments()
    desk = make_account("desk")
    strategies, lanes = [], []
    for name, size in zip(TICKERS, SIZES, strict=True):
        symbol = f"{name}-USDT"
        leg = {"size": Decimal(size)}
        columns = {"ticker": f"{name}USDT.P", "symbol": symbol, "pair": f"{name}USDT", "max_alarm_age": 3600}
        strategies.append(make_strategy(desk, name=f"{name} of the bench", alarm_name="Bench", leg=leg, **columns).pk)
        lanes.append(Lane.objects.create(account=desk, market="usdtm", symbol=symbol).pk)
    for number in range(CROWD):
        account = make_account(f"crowd {number}")
        make_strategy(account, name=f"crowd {number}", alarm_name="Crowd", leg={"size": Decimal("0.001")})
        compare_positions(account)
    compare_positions(desk)
    print(json.dumps({"account": desk.pk, "strategies": strategies, "lanes": lanes}))


if __name__ == "__main__":
    main()
