"""The audit's table: appended to, in one chain, and nothing else."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any, NoReturn

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils.translation import gettext_lazy as _


class AppendOnly(TypeError):
    """An entry is never changed and never removed."""


class Entries(models.QuerySet["AuditEntry"]):
    """Entries to read."""

    def update(self, **columns: Any) -> NoReturn:
        raise AppendOnly("an audit entry is never changed")

    def bulk_update(self, *args: Any, **options: Any) -> NoReturn:
        raise AppendOnly("an audit entry is never changed")

    def bulk_create(self, *args: Any, **options: Any) -> NoReturn:
        raise AppendOnly("an audit entry is appended, each after the one before")

    def delete(self) -> NoReturn:
        raise AppendOnly("an audit entry is never removed")


class AuditEntry(models.Model):
    """One act: who did what to which object, when, from where, through what, and the values before and after.

    No foreign keys: it must outlive what it is about. Its id has no gaps, and it holds the hash of the one before.
    """

    class Through(models.TextChoices):
        OFFICE = "office", _("Back office")
        API = "api", _("API")
        COMMAND = "command", _("Command")
        SYSTEM = "system", _("Pelusa itself")

    id = models.BigIntegerField(primary_key=True)
    at = models.DateTimeField(_("when"))
    act = models.CharField(_("act"), max_length=20, help_text=_("A machine word, e.g. changed."))
    through = models.CharField(_("through"), max_length=8, choices=Through.choices)
    who = models.CharField(_("who"), max_length=150, blank=True)
    user_id = models.BigIntegerField(_("user id"), null=True)
    token = models.CharField(_("token"), max_length=25, blank=True, help_text=_("The first letters of an API token."))
    address = models.CharField(_("address"), max_length=45, blank=True)
    request_id = models.CharField(_("request"), max_length=64, blank=True)
    object_type = models.CharField(
        _("object type"), max_length=100, blank=True, help_text=_("E.g. strategies.strategy.")
    )
    object_id = models.CharField(_("object id"), max_length=64, blank=True)
    object_name = models.CharField(_("object"), max_length=200, blank=True)
    changes = models.JSONField(_("changes"), default=dict, help_text=_("Each field's value before and after."))
    note = models.TextField(_("note"), blank=True)
    previous_hash = models.CharField(_("previous hash"), max_length=64, blank=True)
    entry_hash = models.CharField(_("entry hash"), max_length=64)

    objects = Entries.as_manager()

    class Meta:
        app_label = "pelusa"
        ordering = ["-id"]
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit")
        default_permissions = ("view",)
        indexes = [
            models.Index(fields=["object_type", "object_id", "-id"], name="audit_by_object"),
            models.Index(fields=["user_id", "-id"], name="audit_by_user"),
            models.Index(fields=["act", "at"], name="audit_by_act"),
        ]

    def __str__(self) -> str:
        return f"{self.pk}: {self.who} {self.act} {self.object_name}"

    def save(self, *args: Any, **options: Any) -> None:
        if not self._state.adding:
            raise AppendOnly("an audit entry is never changed")
        super().save(force_insert=True)

    def delete(self, *args: Any, **options: Any) -> NoReturn:
        raise AppendOnly("an audit entry is never removed")

    def digest(self) -> str:
        """Return the hash of everything that it says, the hash of the one before included."""
        said = {name: getattr(self, name) for name in _hashed(self._meta.concrete_fields)}
        text = json.dumps(said | {"at": self.at.isoformat()}, sort_keys=True, cls=DjangoJSONEncoder)
        return hashlib.sha256(text.encode()).hexdigest()


class AuditHead(models.Model):
    """Where the chain ends: one row, locked while an entry is appended, so that a cut-off end is seen too."""

    entries = models.BigIntegerField(_("entries"), default=0)
    last_hash = models.CharField(_("last hash"), max_length=64, blank=True)

    class Meta:
        verbose_name = _("audit head")
        verbose_name_plural = _("audit heads")
        app_label = "pelusa"
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.entries} entries"


def _hashed(fields: Iterable[Any]) -> list[str]:
    return [field.attname for field in fields if field.attname != "entry_hash"]
