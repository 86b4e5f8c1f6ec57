"""Take a document of strategies: first say what would be made, changed or refused, then do all of it or nothing.

Every strategy passes the serializer that the API saves it with, so an import takes what a PUT takes. One that is there
already, by its name, is changed.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from exchange.models import Account
from pelusa.errors import flattened
from strategies.api import StrategySerializer
from strategies.models import Strategy
from strategies.portable import FORMAT, VERSION
from strategies.versions import Difference, content_of, differences

MOST_STRATEGIES = 500


class Unreadable(ValueError):
    """It is no document of strategies; the sentence says why."""


class Act(StrEnum):
    """What an import does with one strategy."""

    MAKE = "make"
    CHANGE = "change"
    KEEP = "keep"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Item:
    """One strategy of a document and what would become of it."""

    name: str
    act: Act
    changes: list[Difference] = field(default_factory=list)
    problems: dict[str, list[str]] = field(default_factory=dict)
    strategy_id: int | None = None
    serializer: StrategySerializer | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What would become of each strategy of a document."""

    items: tuple[Item, ...]

    @property
    def is_possible(self) -> bool:
        """Tell whether nothing is refused: then all of it can be done."""
        return not any(each.act is Act.REFUSE for each in self.items)

    @property
    def fingerprint(self) -> str:
        """Return what differs as soon as the plan does: so that nobody confirms one and gets another."""
        said = [
            [each.name, each.act, [[one.field, one.before, one.after] for one in each.changes]] for each in self.items
        ]
        return hashlib.sha256(json.dumps(said, default=str).encode()).hexdigest()


def read_document(text: str | bytes) -> list[Any]:
    """Return the strategies of a document as it was exported, unexamined; raise `Unreadable`."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable(_("It is no JSON: %(error)s.") % {"error": error}) from None
    return strategies_in(document)


def strategies_in(document: Any) -> list[Any]:
    """Return the strategies of a document that was read already; raise `Unreadable`."""
    if not isinstance(document, Mapping) or document.get("format") != FORMAT:
        raise Unreadable(
            _('It is no export of strategies: one begins with {"format": "%(format)s"}.') % {"format": FORMAT}
        )
    if document.get("version") != VERSION:
        words = _("Its version is %(theirs)s; this Pelusa reads version %(ours)s.")
        raise Unreadable(words % {"theirs": repr(document.get("version")), "ours": VERSION})
    found = document.get("strategies")
    if not isinstance(found, list) or not found:
        raise Unreadable(_("It holds no strategies."))
    if len(found) > MOST_STRATEGIES:
        words = _("It holds %(count)s strategies; at most %(most)s are taken at once.")
        raise Unreadable(words % {"count": len(found), "most": MOST_STRATEGIES})
    return found


def plan_import(entries: list[Any], who: object, *, as_they_were: bool = False) -> Plan:
    """Return what would become of each entry; nothing is written.

    Strategies come switched off, new ones and changed ones, unless they are to be `as_they_were` when exported.
    """
    names = [_name_of(each) for each in entries]
    times = Counter(name.casefold() for name in names)
    stored = {each.name: each for each in Strategy.objects.filter(name__in=names).prefetch_related("legs")}
    planner = _Planner(dict(Account.objects.values_list("name", "pk")), who, as_they_were)
    items = []
    for name, entry in zip(names, entries, strict=True):
        if not name:
            items.append(_refused("–", None, {"name": [_("Is needed: a strategy is known by it.")]}))
        elif times[name.casefold()] > 1:
            items.append(_refused(name, None, {"name": [_("Is in the document more than once.")]}))
        else:
            items.append(planner.item(name, entry, stored.get(name)))
    return Plan(tuple(items))


def carry_out(plan: Plan) -> None:
    """Write all of a plan that is possible, with a version for each strategy; nothing when one of them fails."""
    with transaction.atomic():
        for each in plan.items:
            if each.serializer:
                each.serializer.save()


def _name_of(entry: Any) -> str:
    name = entry.get("name") if isinstance(entry, Mapping) else None
    return name.strip() if isinstance(name, str) else ""


def _refused(name: str, stored: Strategy | None, problems: dict[str, list[str]]) -> Item:
    return Item(name, Act.REFUSE, problems=problems, strategy_id=stored.pk if stored else None)


@dataclass(frozen=True, slots=True)
class _Planner:
    """What is the same for every strategy of a document; `accounts` are the keys by name."""

    accounts: Mapping[str, int]
    who: object
    as_they_were: bool

    def item(self, name: str, entry: Mapping[str, Any], stored: Strategy | None) -> Item:
        said = entry.get("account")
        account = self.accounts.get(said) if isinstance(said, str) else None
        if account is None:
            return _refused(name, stored, {"account": [self._no_such_account(said)]})
        serializer = self._serializer(entry, account, stored)
        if not serializer.is_valid():
            return _refused(name, stored, _by_field(serializer.errors))
        changes = self._changes(stored, serializer.validated_data)
        if stored is None:
            return Item(name, Act.MAKE, changes, serializer=serializer)
        if self._is_same(changes):
            return Item(name, Act.KEEP, strategy_id=stored.pk)
        return Item(name, Act.CHANGE, changes, strategy_id=stored.pk, serializer=serializer)

    def _serializer(self, entry: Mapping[str, Any], account: int, stored: Strategy | None) -> StrategySerializer:
        data = {**entry, "account": account}
        if not self.as_they_were:
            data["is_active"] = False
        return StrategySerializer(stored, data=data, context={"who": self.who, "note": "Imported."})

    def _is_same(self, changes: list[Difference]) -> bool:
        """To switch off what is otherwise the same would stop a strategy for nothing."""
        switches_only = [each.field for each in changes] == ["is_active"]
        return not changes or (switches_only and not self.as_they_were)

    def _no_such_account(self, said: Any) -> str:
        names = ", ".join(sorted(self.accounts)) or "–"
        return _("No account is named %(said)s here; there are: %(names)s.") % {"said": repr(said), "names": names}

    def _changes(self, stored: Strategy | None, valid: Mapping[str, Any]) -> list[Difference]:
        """Return what differs from what is stored; all of it, where nothing is."""
        after = content_of(valid["strategy"], [leg for leg in valid["legs"].values() if leg])
        before = content_of(stored, stored.legs.all()) if stored else {}
        return differences(self._with_name(before), self._with_name(after))

    def _with_name(self, content: dict[str, Any]) -> dict[str, Any]:
        names = {pk: name for name, pk in self.accounts.items()}
        return {key: names.get(value, value) if key == "account" else value for key, value in content.items()}


def _by_field(errors: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, sentences in flattened(errors):
        found.setdefault(name, []).extend(sentences)
    return found
