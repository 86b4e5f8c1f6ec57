"""A BingX-compatible exchange with paper money, its own process.

Standard library only: `python -m exchange.paper --port 0` runs it without Django. Everything that BingX does is taken
from the vendor's pages (https://bingx-api.github.io/docs-v3/) and from recorded answers; what is ours alone lives under
`/paper/`.
"""
