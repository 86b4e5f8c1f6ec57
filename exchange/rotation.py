"""Bring what is encrypted at rest under the newest key, row by row, wherever a model has an encrypted column."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from cryptography.fernet import Fernet, InvalidToken
from django.apps import apps
from django.conf import settings
from django.db import models, router, transaction
from django.db.models.functions import Cast

from exchange.encryption import EncryptedTextField, WrongKey, key_id, keys


@dataclass(slots=True)
class Column:
    """What the rows of one encrypted column are sealed with: rows by the id of their key, "" where none opens them."""

    name: str
    rows: Counter[str] = field(default_factory=Counter)


def encrypted_columns() -> Iterator[tuple[type[models.Model], EncryptedTextField]]:
    """Yield every encrypted column of every app: a model that gets one is rotated without anybody's doing."""
    for model in apps.get_models():
        for column in model._meta.concrete_fields:
            if isinstance(column, EncryptedTextField) and column.model is model:
                yield model, column


def survey() -> list[Column]:
    """Tell which keys are in use; nothing is changed, and no value is kept."""
    found = []
    for model, column in encrypted_columns():
        told = Column(f"{model._meta.label}.{column.name}")
        for _pk, sealed in _sealed(model, column):
            told.rows[_opened_by(sealed)] += 1
        found.append(told)
    return found


def rotate() -> dict[str, int]:
    """Seal again with the newest key whatever an older one sealed; return how many rows of each column changed.

    Each row in a transaction of its own, so it may be stopped and called again; a row that somebody else wrote
    meanwhile is left, being sealed with the newest key already. Raises `WrongKey` before anything is written when a row
    cannot be opened.
    """
    unreadable = [column.name for column in survey() if column.rows[""]]
    if unreadable:
        raise WrongKey(f"{', '.join(unreadable)}: FIELD_ENCRYPTION_KEYS does not open every row")
    return {
        f"{model._meta.label}.{column.name}": sum(
            _seal_again(model, column, pk, sealed)
            for pk, sealed in _sealed(model, column)
            if _opened_by(sealed) != key_id(settings.FIELD_ENCRYPTION_KEYS[0])
        )
        for model, column in encrypted_columns()
    }


def _sealed(model: type[models.Model], column: EncryptedTextField) -> list[tuple[object, str]]:
    """Return the stored form of every row that has one, as it lies in the database."""
    stored = model._base_manager.using(router.db_for_write(model)).annotate(
        sealed=Cast(column.name, models.TextField())
    )
    return [(pk, sealed) for pk, sealed in stored.values_list("pk", "sealed").order_by("pk") if sealed]


def _opened_by(sealed: str) -> str:
    for each in settings.FIELD_ENCRYPTION_KEYS:
        try:
            Fernet(each).decrypt(sealed.encode())
        except InvalidToken:
            continue
        return key_id(each)
    return ""


def _seal_again(model: type[models.Model], column: EncryptedTextField, pk: object, sealed: str) -> bool:
    alias = router.db_for_write(model)
    with transaction.atomic(using=alias):
        rows = model._base_manager.using(alias).select_for_update().filter(pk=pk)
        now = rows.annotate(sealed=Cast(column.name, models.TextField())).values_list("sealed", flat=True)
        if now.first() != sealed:
            return False
        return bool(rows.update(**{column.name: keys().decrypt(sealed.encode()).decode()}))
