"""`python -m exchange.paper --port N`: the paper exchange without Django."""

from __future__ import annotations

import argparse
import sys

from exchange.paper.command import add_arguments, run


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m exchange.paper", description="A BingX-compatible exchange with paper money."
    )
    add_arguments(parser)
    try:
        run(parser.parse_args())
    except ValueError as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
