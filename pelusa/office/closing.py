"""Close everything of a strategy or of an account: one page says what, its button closes each operation by itself."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import OperationalError
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_http_methods
from loguru import logger

from exchange.backoffice import without_secrets
from exchange.models import Account
from operations.killswitch import pull, pulled_switch
from operations.lifecycle import NothingToClose, close_by_hand
from operations.models import Operation
from pelusa.office.holdings import MOST, holdings
from strategies.models import Strategy

PERMISSIONS = ("operations.view_operation", "operations.close_operation")
PULL = "operations.pull_killswitch"


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose operations are meant; a strategy's brake is its account's."""

    account: Account
    strategy: Strategy | None = None

    @property
    def name(self) -> str:
        return self.strategy.name if self.strategy else self.account.name

    @property
    def page(self) -> str:
        if self.strategy:
            return reverse("admin:strategies_strategy_change", args=[self.strategy.pk])
        return reverse("admin:exchange_account_change", args=[self.account.pk])

    @property
    def closable(self) -> QuerySet[Operation]:
        of = {"strategy": self.strategy} if self.strategy else {"account": self.account}
        return Operation.objects.filter(status__in=Operation.STACKABLE, **of)


@require_http_methods(["GET", "HEAD", "POST"])
def close_all(request: HttpRequest, kind: str, number: int) -> HttpResponse:
    """Ask with a list of what will be closed; a POST closes what was on that list."""
    if not request.user.has_perms(PERMISSIONS):
        raise PermissionDenied
    owner = _owner(kind, number)
    if request.method != "POST":
        return _ask(request, owner)
    if "brake" in request.POST and request.user.has_perm(PULL):
        _brake(request, owner)
    asked = owner.closable.filter(pk__in=_numbers(request.POST.getlist("operation")))
    refused = _close(request, asked)
    later = owner.closable.exclude(pk__in=refused)
    if later.exists():
        messages.warning(request, _("More was opened meanwhile, or did not fit on the list: close it as well?"))
        return HttpResponseRedirect(request.path)
    return HttpResponseRedirect(owner.page)


def _owner(kind: str, number: int) -> Owner:
    if kind == "strategy":
        strategies = Strategy.objects.select_related("account").defer(*without_secrets("account__"))
        strategy = strategies.filter(pk=number).first()
        if strategy:
            return Owner(strategy.account, strategy)
    account = Account.objects.filter(pk=number).defer(*without_secrets()).first() if kind == "account" else None
    if account is None:
        raise Http404
    return Owner(account)


def _numbers(texts: Iterable[str]) -> list[int]:
    return [int(text) for text in texts if text.isascii() and text.isdecimal() and len(text) < 19][:MOST]


def _ask(request: HttpRequest, owner: Owner) -> HttpResponse:
    lines = holdings(owner.strategy, account=None if owner.strategy else owner.account)
    context: dict[str, Any] = admin.site.each_context(request) | {
        "title": gettext_lazy("Close everything?"),
        "owner": owner,
        "lines": lines,
        "closable": Operation.STACKABLE,
        "is_any_closable": any(line.operation.status in Operation.STACKABLE for line in lines),
        "switch": pulled_switch(owner.account.pk),
        "may_pull": request.user.has_perm(PULL),
    }
    return TemplateResponse(request, "pelusa/close_all.html", context)


def _brake(request: HttpRequest, owner: Owner) -> None:
    """Pull the account's switch first, so that nothing is opened behind what is being closed."""
    said = {"name": owner.name, "account": owner.account.name}
    try:
        is_new = pull(owner.account, request.user, _("Everything of %(name)s is being closed.") % said)
    except OperationalError as error:
        # What is held is closed nevertheless: that is what was asked for
        logger.error("kill switch of {}: not pulled, the database was busy: {}", owner.account.name, error)
        messages.error(request, _("The kill switch of %(account)s is NOT on, the database was busy.") % said)
        return
    if is_new:
        words = _("The kill switch of %(account)s is on: no entries until an operator releases it.")
        messages.success(request, words % said)


def _close(request: HttpRequest, operations: Iterable[Operation]) -> list[int]:
    """Order each one's exit and tell; return those that could not be, which hinder none of the others."""
    closed, refused = 0, []
    for operation in operations:
        try:
            close_by_hand(operation, request.user)
            closed += 1
        except (NothingToClose, OperationalError) as error:
            refused.append(operation.pk)
            messages.error(request, _refusal(operation, error))
    if closed:
        words = ngettext("%(count)s operation is being closed.", "%(count)s operations are being closed.", closed)
        messages.success(request, words % {"count": closed})
    return refused


def _refusal(operation: Operation, error: Exception) -> str:
    if isinstance(error, NothingToClose):
        return _("Operation %(number)s: %(reason)s.") % {"number": operation.pk, "reason": error}
    logger.error("operation {} is not closed, the database was busy: {}", operation.pk, error)
    return _("Operation %(number)s is NOT being closed, the database was busy: try again.") % {"number": operation.pk}


def urls() -> list[URLPattern]:
    """Return the page's address."""
    return [path("close/<slug:kind>/<int:number>/", admin.site.admin_view(close_all), name="close_all")]
