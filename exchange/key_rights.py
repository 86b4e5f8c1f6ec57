"""What an account's key may do at the exchange: one that may withdraw money must not be here."""

from loguru import logger

from exchange.bingx import KeyPermission
from exchange.connection import connect
from exchange.models import Account


def read_rights(account: Account) -> bool:
    """Ask the exchange what the key may do, keep whether it may withdraw, and return it.

    What was known stays when the exchange does not answer: its error is raised.
    """
    may_withdraw = KeyPermission.WITHDRAW in connect(account).permissions()
    if may_withdraw != account.may_withdraw:
        Account.objects.filter(pk=account.pk).update(may_withdraw=may_withdraw)
        account.may_withdraw = may_withdraw
        log = logger.bind(account=account.pk)
        if may_withdraw:
            log.error("account {}: its key may withdraw money: no entry is sent with it", account.name)
        else:
            log.info("account {}: its key may not withdraw money any more", account.name)
    return may_withdraw
