"""The same as in English: a price with a comma is another price."""

from pelusa.formats.en.formats import *  # noqa: F403
