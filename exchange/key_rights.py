"""What an account's key may do at the exchange: one that may withdraw money must not be here."""

from django.utils import timezone
from loguru import logger

from exchange.bingx import KeyPermission
from exchange.connection import connect
from exchange.models import Account


def read_rights(account: Account) -> bool:
    """Ask the exchange what the key may do, keep whether it may withdraw, and return it.

    What was known stays when the exchange does not answer: its error is raised.
    """
    may_withdraw = KeyPermission.WITHDRAW in connect(account).permissions()
    read_at, row = timezone.now(), Account.objects.filter(pk=account.pk)
    if not may_withdraw:
        # Another key may have been entered while this one was asked about: only ill is believed of both
        row = row.filter(rights_read_at=account.rights_read_at)
    if row.update(may_withdraw=may_withdraw, rights_read_at=read_at):
        _tell(account, may_withdraw)
        account.may_withdraw, account.rights_read_at = may_withdraw, read_at
    return may_withdraw


def _tell(account: Account, may_withdraw: bool) -> None:
    log = logger.bind(account=account.pk)
    if may_withdraw and not account.may_withdraw:
        log.error("account {}: its key may withdraw money: no entry is sent with it", account.name)
    elif account.may_withdraw and not may_withdraw:
        log.info("account {}: its key may not withdraw money any more", account.name)
