"""The command line of the paper exchange, shared by `manage.py paper_exchange` and `python -m exchange.paper`."""

from __future__ import annotations

import argparse
import asyncio
import sys
from decimal import Decimal, InvalidOperation
from ipaddress import ip_network

from exchange.paper.server import serve_until_signal
from exchange.paper.venue import KeyTaken, Venue


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, required=True, help="port to listen on; 0 picks a free one")
    parser.add_argument("--bind", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--key", action="append", default=[], help="API key to register; repeat with as many --secret")
    parser.add_argument("--secret", action="append", default=[], help="secret of the key at the same place")
    parser.add_argument("--seed", type=int, default=1, help="seed of all prices")
    parser.add_argument(
        "--price",
        nargs="+",
        action="extend",
        default=[],
        metavar="SYMBOL=PRICE",
        help="pin prices, e.g. BTC-USDT=50000",
    )
    parser.add_argument(
        "--state", default=None, metavar="FILE", help="SQLite file that keeps the books (default: memory)"
    )
    parser.add_argument(
        "--control-from",
        action="append",
        default=[],
        metavar="CIDR",
        help="let these addresses use /paper/..., beside this machine",
    )
    parser.add_argument("--latency-ms", type=int, default=0, help="milliseconds to wait before each answer")


def prepare(options: argparse.Namespace) -> Venue:
    """Return the exchange that the options describe.

    Raises ValueError when keys and secrets do not pair or a price is wrong.
    """
    if len(options.key) != len(options.secret):
        raise ValueError("as many --secret as --key, please")
    venue = Venue(options.seed, options.state)
    venue.control_from += [ip_network(text) for text in options.control_from]
    for key, secret in zip(options.key, options.secret, strict=True):
        try:
            venue.register(key, secret)
        except KeyTaken:
            raise ValueError(f"the state file holds another secret for key {key}") from None
    for text in options.price:
        symbol, _, price = text.partition("=")
        try:
            venue.pin(symbol, Decimal(price))
        except InvalidOperation:
            raise ValueError(f"--price {text}: write SYMBOL=PRICE") from None
    venue.ledger.commit()
    return venue


def run(options: argparse.Namespace) -> None:
    """Serve until SIGTERM or SIGINT. Raises ValueError as `prepare` does."""
    venue = prepare(options)

    def tell(port: int) -> None:
        sys.stdout.write(f"paper exchange listens on http://{options.bind}:{port}\n")
        sys.stdout.flush()

    asyncio.run(serve_until_signal(venue, options.bind, options.port, latency_ms=options.latency_ms, on_ready=tell))
