"""The hand on the brake: for one account or for all, entries are denied while exits go on.

A claim reads the switch under its account's lock. Pulling commits the switch first, so whoever looks from then on is
denied, and then waits once for the lock of every account concerned: a claim that had looked before has then ended.
When `pull` has returned, no entry becomes SUBMITTED until the release.
"""

from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.db import OperationalError, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _
from loguru import logger

from exchange.acts import tell_act_after
from exchange.models import Account
from operations.kept import Kept
from operations.models import KillSwitch
from operations.notices import end_notice, raise_notice

EVERYTHING = "all"
HALT_FILE = "HALT"
NOTICE = "kill_switch_on"


@dataclass(frozen=True, slots=True)
class Halt:
    """Who stopped entries from outside the database, and why."""

    by: str
    why: str = ""


def scope_of(account_id: int | None, strategy_id: int | None = None) -> str:
    """Return the unique text of what a switch or a row of limits is about: all, account:5 or strategy:7."""
    if strategy_id is not None:
        return f"strategy:{strategy_id}"
    return EVERYTHING if account_id is None else f"account:{account_id}"


def pull(account: Account | None, who: object, why: str) -> bool:
    """Deny entries of the account (None: of all) from now on; return whether the switch was off.

    Blocks until no entry that was claimed before is still on its way into SUBMITTED. Survives a restart. Raises
    `ValueError` without a reason.
    """
    was_off = _turn(account, True, who, why)
    is_quiet = _wait_for_claims(account)
    if not is_quiet:
        logger.error("kill switch {}: on, but an order that was being claimed may still be sent", _name(account))
    # Where the account's row is held by somebody, a row that points at it would wait as well
    of = account if is_quiet else None
    raise_notice(scope_of(_key(account)), NOTICE, account=of, accounts=_name(account), who=str(who), why=why)
    if was_off:
        _tell("pulled", account, True, who, why)
    return was_off


def release(account: Account | None, who: object, why: str) -> bool:
    """Allow entries again; return whether the switch was on. A switch for all and one for an account are two switches.

    Raises `ValueError` without a reason.
    """
    if not _turn(account, False, who, why):
        return False
    end_notice(scope_of(_key(account)), NOTICE)
    _tell("released", account, False, who, why)
    return True


def pulled_switch(account_id: int) -> KillSwitch | None:
    """Return the switch that denies this account's entries: its own or the one for all."""
    return _PULLED.first(scope_of(account_id))


# "all" after "account:5": the wider reason is the one to tell
_PULLED = Kept[KillSwitch](
    lambda scope: KillSwitch.objects.filter(is_on=True, scope__in=[EVERYTHING, scope]).order_by("-scope")[:1], str
)


def all_switches() -> list[KillSwitch]:
    """Return the switch for all and every account's; one that was never touched is off and not stored."""
    stored = {switch.scope: switch for switch in KillSwitch.objects.all()}
    accounts = [None, *Account.objects.order_by("name").only("id", "name")]
    switches = [stored.get(scope_of(_key(each))) or _untouched(each) for each in accounts]
    for switch, account in zip(switches, accounts, strict=True):
        switch.account = account
    return switches


def halt() -> Halt | None:
    """Return what stops entries from outside: the environment's PELUSA_HALT, or a file HALT in VAR_DIR.

    The file's first line is the reason. A file that is there and cannot be read halts too.
    """
    if settings.PELUSA_HALT:
        return Halt("PELUSA_HALT")
    path = Path(settings.VAR_DIR) / HALT_FILE
    try:
        lines = path.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return None
    except OSError as error:
        return Halt(f"the file {HALT_FILE}", f"it cannot be read: {error.strerror}")
    return Halt(f"the file {HALT_FILE}", lines[0].strip() if lines else "")


def _turn(account: Account | None, is_on: bool, who: object, why: str) -> bool:
    """Commit the switch's new position; return False when it stood there already, and keep who was first."""
    if not why.strip():
        raise ValueError(_("A kill switch is moved for a reason: say why."))
    scope, moment = scope_of(_key(account)), timezone.now()
    if not KillSwitch.objects.filter(scope=scope).exists():
        # A commit of its own: an insert that comes second keeps a lock that would deadlock with the update
        KillSwitch.objects.get_or_create(scope=scope, defaults={"account": account})
    with transaction.atomic(durable=True):
        switch = KillSwitch.objects.filter(~Q(is_on=is_on), scope=scope)
        turned = switch.update(is_on=is_on, changed_by=str(who)[:150], reason=why.strip(), changed_at=moment)
    words = ("on" if is_on else "off") if turned else "was moved already"
    logger.warning("kill switch {}: {} by {}: {}", _name(account), words, who, why)
    return bool(turned)


def _tell(act: str, account: Account | None, is_on: bool, who: object, why: str) -> None:
    """Tell of the move when it has been made: the brake waits for nobody who writes."""
    switch = KillSwitch.objects.get(scope=scope_of(_key(account)))
    # Not read again with its credentials, which a lost key would not open
    switch.account = account
    tell_act_after(act, switch, who=who, before={"is_on": not is_on}, after={"is_on": is_on}, note=why)


def _wait_for_claims(account: Account | None) -> bool:
    """Wait until every claim that began before has ended; return False when one holds its lock for too long."""
    accounts = Account.objects.select_for_update().order_by("pk")
    try:
        with transaction.atomic():
            list((accounts.filter(pk=account.pk) if account else accounts).values_list("pk", flat=True))
    except OperationalError as error:
        logger.error("kill switch {}: waiting for claims: {}", _name(account), error)
        return False
    return True


def _untouched(account: Account | None) -> KillSwitch:
    return KillSwitch(account=account, scope=scope_of(_key(account)))


def _key(account: Account | None) -> int | None:
    return account.pk if account else None


def _name(account: Account | None) -> str:
    return account.name if account else "all accounts"
