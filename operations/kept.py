"""Look-ups whose SQL is made once: Django makes a query's text anew each time, which takes longer than to run it.

Only the text is kept, never a row: each call asks the database, through Django's own cursor, and makes new objects.
The first of a request or a task saves the ping of its connection too: it may be asked twice, so it is its own ping.
"""

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar, cast

from django.core.exceptions import ObjectDoesNotExist
from django.db import OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import QuerySet
from django.db.models.sql.compiler import SQLCompiler
from django.db.transaction import TransactionManagementError

Value = int | str | datetime
Row = TypeVar("Row")
# What a driver says of a connection that ended
GONE = frozenset({2006, 2013, 4031})
# What no column holds: by it a value's places among a query's parameters are found
MARKS: dict[type, Callable[[int], Value]] = {
    int: lambda number: 2**62 + number,
    str: lambda number: f"\N{NULL}{number}",
    datetime: lambda number: datetime(9999, 1, 1, microsecond=number, tzinfo=UTC),
}


class Kept(Generic[Row]):
    """A queryset as a function of values of some kinds, which its SQL must hold as parameters and in no other way."""

    def __init__(self, look_up: Callable[..., QuerySet[Any, Row]], *kinds: type[Value]) -> None:
        self._look_up, self._kinds = look_up, kinds
        # A compiler belongs to its thread's connection
        self._threads = threading.local()

    def all(self, *values: Value) -> list[Row]:
        """Return the rows as they are now. Raises outside a transaction when they are to be locked, as Django does."""
        if len(values) != len(self._kinds) or not all(map(isinstance, values, self._kinds)):
            raise TypeError(f"not what is asked for: {values}")
        compiled: _Compiled[Row] = self._threads.__dict__.get("compiled") or self._compile()
        return compiled.run(values)

    def first(self, *values: Value) -> Row | None:
        """Return the first row; the look-up itself says in which order, and that no more is read."""
        return next(iter(self.all(*values)), None)

    def get(self, *values: Value) -> Row:
        """Return the row; raise `ObjectDoesNotExist` when there is none. Of more than one it is the first."""
        row = self.first(*values)
        if row is None:
            raise ObjectDoesNotExist(f"no row of {values}")
        return row

    def queryset(self, *values: Value) -> QuerySet[Any, Row]:
        """Return the queryset for these values, in the order that it names itself and in no other.

        A model's own ordering may join another table, and what locks would lock the other table's rows too.
        """
        queryset = self._look_up(*values)
        queryset.query.default_ordering = False
        return queryset

    def _compile(self) -> "_Compiled[Row]":
        marks = [MARKS[kind](number) for number, kind in enumerate(self._kinds)]
        self._threads.compiled = compiled = _Compiled(self.queryset(*marks), marks)
        return compiled


class _Compiled(Generic[Row]):
    """A queryset with the compiler that it uses again and again."""

    def __init__(self, queryset: QuerySet[Any, Row], marks: list[Value]) -> None:
        self._queryset, self._using = queryset, queryset.db
        self._compiler: SQLCompiler = queryset.query.get_compiler(self._using)
        self._sql, parameters = self._compiler.as_sql()
        self._constants = list(parameters)
        marks = [self._adapted(mark) for mark in marks]
        self._places = [(place, marks.index(mark)) for place, mark in enumerate(parameters) if mark in marks]
        if {number for _, number in self._places} != set(range(len(marks))):
            raise ValueError(f"not every value is a parameter of {self._sql}")
        converters = self._compiler.get_converters([column for column, *_ in self._compiler.select])
        # What makes objects of an answer asks the queryset for its compiler, and that one for these
        queryset.query.get_compiler = lambda *_, **__: self._compiler  # type: ignore[method-assign]
        self._compiler.get_converters = lambda _: converters

    def run(self, values: tuple[Value, ...]) -> list[Row]:
        # The stubs know nothing of health checks
        connection: Any = connections[self._using]
        if not _is_to_be_pinged(connection):
            return self._rows(connection, values)
        connection.health_check_done = True
        try:
            return self._rows(connection, values)
        except OperationalError as error:
            if not GONE.intersection(error.args[:1]):
                raise
            connection.close()
            return self._rows(connection, values)

    def _rows(self, connection: BaseDatabaseWrapper, values: tuple[Value, ...]) -> list[Row]:
        self._compiler.connection = connection
        if self._queryset.query.select_for_update and not connection.in_atomic_block:
            raise TransactionManagementError("select_for_update cannot be used outside of a transaction.")
        parameters = self._constants.copy()
        for place, number in self._places:
            parameters[place] = self._adapted(values[number])
        self._compiler.as_sql = lambda *_, **__: (self._sql, tuple(parameters))  # type: ignore[method-assign]
        rows: list[Row] = list(cast(Any, self._queryset)._iterable_class(self._queryset))
        return rows

    def _adapted(self, value: Value) -> Value:
        """Return the value as Django hands it to the driver."""
        if not isinstance(value, datetime):
            return value
        return cast(Value, self._compiler.connection.ops.adapt_datetimefield_value(value))


def _is_to_be_pinged(connection: Any) -> bool:
    """Tell whether Django would ping before the next statement, and the statement is in no transaction."""
    is_open_alone = connection.connection is not None and not connection.in_atomic_block
    return bool(is_open_alone and connection.health_check_enabled and not connection.health_check_done)
