"""Which of the three databases a model lives in."""

from typing import Any

from django.db.models import Model

# Everything that is not named here (strategies, operations, accounts, users, admin, beat) lives in `default`.
DATABASE_OF_APP = {"alarms": "alarms", "market": "market"}


def _database_of(model: Model | type[Model]) -> str:
    return DATABASE_OF_APP.get(model._meta.app_label, "default")


class ThreeDatabases:
    """Alarms, operations and candles apart; no relation and no transaction crosses two of them."""

    def db_for_read(self, model: type[Model], **hints: Any) -> str:
        return _database_of(model)

    db_for_write = db_for_read

    def allow_relation(self, one: Model, other: Model, **hints: Any) -> bool:
        # By `_meta` and not by type: the user of a request is a proxy that only looks like one
        return _database_of(one) == _database_of(other)

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return db == DATABASE_OF_APP.get(app_label, "default")
