"""How the server answers each query: its plan at the moment of asking, and how many index entries it then walked over.

The plan alone does not tell: a walk along the primary key that ends at a LIMIT may be short, or end nowhere.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.db import connections

from pelusa.testing import DATABASES

# They grow for ever; every other table has a row for each account, symbol or strategy
BIG = {
    "alarms_alarm",
    "operations_decision",
    "operations_operation",
    "operations_order",
    "operations_orderevent",
    "operations_fill",
    "market_kline",
}
# ALL reads the whole table, index the whole of an index
SCANS = ("ALL", "index")
_EXPLAINED = re.compile(r"\s*\(?\s*(SELECT|UPDATE|DELETE)\b", re.IGNORECASE)
_ALIAS = re.compile(r"`(\w+)` (?:AS )?`?([A-Z]\d+)`?(?=[\s,)]|$)")
_ENDS = re.compile(r" LIMIT \d+(?: FOR UPDATE.*)?$")
_WALKED = "SHOW SESSION STATUS WHERE Variable_name IN ('Handler_read_next', 'Handler_read_prev')"


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a plan: how the rows of one big table are found."""

    table: str
    access: str
    key: str
    statement: str

    def __str__(self) -> str:
        return f"{self.access} of {self.table} by {self.key or 'no index'}: {self.statement}"

    @property
    def is_scan(self) -> bool:
        """Tell whether it reads a whole table, or an index from one end with no limit to how far."""
        return self.access == "ALL" or (self.access == "index" and not _ENDS.search(self.statement))


@dataclass
class Plans:
    """The plans of what was asked."""

    steps: list[Step] = field(default_factory=list)
    walks: dict[str, int] = field(default_factory=dict)

    @property
    def tables(self) -> set[str]:
        return {step.table for step in self.steps}

    def scans(self) -> list[str]:
        """Return, in words, what is planned to read a whole table or index."""
        return sorted({str(step) for step in self.steps if step.is_scan})

    def walked(self, most: int) -> list[str]:
        """Return, in words, what walked over more than `most` entries of an index."""
        return sorted(f"{entries} entries: {sql}" for sql, entries in self.walks.items() if entries > most)

    def take(self, execute: Callable[..., Any], sql: str, parameters: Any, many: bool, context: Any) -> Any:
        """Explain a statement, execute it and count; made for `connection.execute_wrapper`."""
        if many or not _EXPLAINED.match(sql):
            return execute(sql, parameters, many, context)
        # The driver's own cursor: Django's would come by here again
        raw = context["connection"].connection
        self.steps += _steps(sql, _rows(raw, f"EXPLAIN {sql}", parameters))
        before = _entries_walked(raw)
        result = execute(sql, parameters, many, context)
        self.walks[sql] = max(self.walks.get(sql, 0), _entries_walked(raw) - before)
        return result


def _rows(raw: Any, sql: str, parameters: Any = None) -> list[dict[str, Any]]:
    with raw.cursor() as cursor:
        cursor.execute(sql, parameters)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _entries_walked(raw: Any) -> int:
    return sum(int(row["Value"]) for row in _rows(raw, _WALKED))


def _steps(sql: str, lines: list[dict[str, Any]]) -> list[Step]:
    aliases = {alias: table for table, alias in _ALIAS.findall(sql)}
    found = []
    for line in lines:
        table = aliases.get(line["table"] or "", line["table"])
        if table in BIG:
            found.append(Step(table, line["type"] or "", line["key"] or "", sql))
    return found


@contextmanager
def explained() -> Iterator[Plans]:
    """Explain every query of this thread for the length of the block."""
    plans = Plans()
    with ExitStack() as stack:
        for alias in DATABASES:
            connections[alias].ensure_connection()
            stack.enter_context(connections[alias].execute_wrapper(plans.take))
        yield plans
