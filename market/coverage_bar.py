"""Draw a series' coverage as a bar: what is there, missing, lacking at the exchange, and not looked at. Pure.

An SVG with attributes alone: no style and no script, so that the strictest content policy shows it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from market.spans import Span

WIDTH: Final = 1000
THERE, MISSING, LACKING, UNKNOWN = "#16a34a", "#dc2626", "#d97706", "#9ca3af"
# A gap of a minute in a year is shown all the same
THINNEST: Final = 4


def draw_bar(
    span: Span, *, missing: Iterable[Span], holes: Iterable[Span], unknown: Iterable[Span] = (), label: str
) -> SafeString:
    """Return the bar; oldest on the left, and what is missing drawn over everything else."""
    if span.start >= span.stop:
        return SafeString("")
    layers = [(THERE, [span]), (UNKNOWN, unknown), (LACKING, holes), (MISSING, missing)]
    boxes = [(x, width, colour) for colour, spans in layers for x, width in _boxes(span, spans)]
    return format_html(
        '<svg class="pelusa-coverage" viewBox="0 0 {} 12" preserveAspectRatio="none" width="160" height="12" role="img"'
        ' aria-label="{}"><title>{}</title>{}</svg>',
        WIDTH,
        label,
        label,
        format_html_join("", '<rect x="{}" y="0" width="{}" height="12" fill="{}"/>', boxes),
    )


def _boxes(whole: Span, spans: Iterable[Span]) -> list[tuple[int, int]]:
    """Return where to draw the spans, from 0 to WIDTH; those that would look like one are one."""
    found: dict[int, int] = {}
    for start, stop in spans:
        x = min(_place(whole, start), WIDTH - THINNEST)
        found[x] = max(found.get(x, THINNEST), _place(whole, stop) - x)
    return sorted(found.items())


def _place(whole: Span, moment: datetime) -> int:
    length = whole.stop - whole.start
    return min(max((moment - whole.start) * WIDTH // length, 0), WIDTH)
