"""Every machine word that says why, and the sentence that a trader reads for it.

Rows keep the word and the facts; the sentence is made when it is shown, so it can be shown in any language.
"""

import re
from collections.abc import Mapping

from django.utils.translation import gettext_lazy as _

from exchange.refusals import in_words
from strategies.reason_names import name_of

SENTENCES = {
    # A strategy's answer to an alarm
    "entry": _("An entry of the {leg} leg was ordered: every condition held."),
    "entry_gate_open": _(
        "An entry of the {leg} leg was ordered: the gate is open since alarm {opened_by} on {gate_interval}."
    ),
    "exit": _("The {leg} leg's share is closed, as the alarm says."),
    "strategy_off": _("The strategy is switched off."),
    "before_active_dates": _("The strategy is active from {active_from}; the alarm came at {received_at}."),
    "after_active_dates": _("The strategy was active until {active_until}; the alarm came at {received_at}."),
    "alarm_too_old": _("The alarm is {age} s old; the strategy takes none older than {max_age} s. Is its time in UTC?"),
    "alarm_from_the_future": _(
        "The alarm's time {alarm_time} is {ahead} s ahead of this server's clock. Is it in UTC?"
    ),
    "no_such_leg": _("The strategy has no {leg} leg."),
    "other_interval": _("The {leg} leg's {action} counts on {expected} only; this alarm is on {interval}."),
    "gate_shut": _(
        "The gate is shut: the newest 'indicator close {leg}' on {shut_interval} (alarm {shut_by}, {shut_at}) is not"
        " older than the newest 'indicator open {leg}' on {gate_interval} (alarm {opened_by}, {opened_at})."
    ),
    "gate_never_opened": _("The gate is shut: no 'indicator open {leg}' on {gate_interval} was ever seen."),
    "pyramiding_reached": _("{entries} of {pyramiding} entries are stacked already."),
    "closing": _("The {leg} leg is being closed; a new entry waits for the next alarm."),
    "nothing_to_close": _("The strategy holds nothing on its {leg} leg."),
    "opens_gate": _("It opens the gate for {leg} entries on {interval}."),
    "shuts_gate": _("It shuts the gate for {leg} entries on {interval}."),
    "not_a_gate": _("The {leg} leg takes no 'indicator {action}' alarm on {interval}; it waits for {expected}."),
    "spot_is_long_only": _("Spot has no short leg."),
    "deciding_broke": _("Deciding broke: {error}. It is in the log; other strategies went on."),
    # An alarm as a whole
    "no_strategy_name": _("The message names no strategy."),
    "no_strategy": _("No strategy waits for alarms named '{strategy}' on {ticker}."),
    "unknown_ticker": _("The exchange lists no instrument for {ticker}."),
    "redelivery": _("The same alarm came before as {original}; it trades nothing."),
    "decided": _("{strategies} strategies answered it."),
    "quarantined": _("Processing it broke {attempts} times; it was set aside. See the log."),
    # Denied by our own limits, before sending
    "no_instrument": _("The exchange lists no {symbol} on {market}."),
    "entries_not_allowed": _("The exchange takes no new positions in {symbol} now."),
    "account_off": _("The account {account} is switched off: exits only."),
    "key_may_withdraw": _("The account's key may withdraw money: exits only, until a key that may not is entered."),
    "key_not_checked": _(
        "BingX has not said yet that the account's key may not withdraw money: exits only, until it has."
    ),
    "key_unreadable": _(
        "The account's stored key cannot be opened with FIELD_ENCRYPTION_KEYS: nothing can be sent, exits neither."
        " Enter the key again, or give the old FIELD_ENCRYPTION_KEYS back."
    ),
    "key_unread": _("What the account's key may do cannot be read. Demo money is traded nevertheless."),
    "above_ceiling": _("The account is {environment}, but PELUSA_TRADING allows {ceiling} at most."),
    "no_equity": _("The account's equity could not be read."),
    "no_size": _("The leg's sizing needs a size and has none."),
    "no_alarm_quantity": _("The sizing is 'as the alarm says', but the alarm named no quantity."),
    "no_stop_for_risk": _("Sizing by risk needs a stop loss in percent on the leg."),
    "below_min_quantity": _("The size comes to {quantity}; the smallest order in {symbol} is {min_quantity}."),
    "below_min_notional": _("The order is worth {notional}; the smallest in {symbol} is worth {min_notional}."),
    "one_way_conflict": _(
        "The account is in one-way mode and holds the {other} leg: an entry of the {leg} leg would only shrink it."
    ),
    "books_differ": _("Entries are stopped: our books say {ours} on the {side} side, the exchange says {theirs}."),
    "clock_off": _("The exchange's clock is {offset} s from this server's; no entry is sent beyond {most} s."),
    "crumbs": _(
        "What is left of {symbol} is worth {notional}; the smallest order is worth {min_notional}. It stays as crumbs."
    ),
    "nothing_left_to_close": _("By the time it was its turn nothing was left to close."),
    "operation_is_closing": _("The operation is being closed; a further entry was not sent."),
    "exit_not_filled": _("An exit of this strategy in {symbol} was not filled in time; the entry was not sent."),
    "books_not_compared": _(
        "The alarm waited {age} s for our books to be compared with the exchange, and grew older than {max_age} s."
    ),
    "leverage_refused": _("The exchange refused to set leverage or margin mode: {detail}"),
    "halted": _("Entries are halted from outside by {by}. {why}"),
    "kill_switch": _("The kill switch of {accounts} is on; {who} pulled it: {why}"),
    "no_price": _("The exchange told no price of {symbol} to reckon with."),
    "price_stale": _("The market's price was read {age} s ago; it must not be older than {max_age} s."),
    "no_alarm_price": _("{scope}: the market must be near the alarm's price, but the alarm named none."),
    "price_moved": _(
        "{scope}: the market is at {price}, {deviation} % from the alarm's {alarm_price}; {max_deviation} % is allowed."
    ),
    "order_too_large": _("{scope}: the entry is worth {notional}; at most {max_notional} is allowed."),
    "too_much_open": _(
        "{scope}: {held} is held or on its way and the entry is worth {notional}; at most {max_notional} is allowed."
    ),
    "too_many_operations": _("{scope}: {open} of {max_operations} allowed operations are open already."),
    "too_many_today": _("{scope}: {sent} of {max_orders} allowed entries were sent since midnight UTC."),
    "daily_loss": _("{scope}: {loss} was lost since midnight UTC; from {max_loss} on entries wait for the next day."),
    "cooling_down": _(
        "{scope}: operation {operation} closed with a loss of {loss}; entries are allowed again at {until} UTC."
    ),
    "outside_schedule": _("{scope}: entries are allowed {schedule} (UTC); the next window begins {opens_at}."),
    "schedule_unreadable": _("{scope}: the schedule '{schedule}' cannot be read, so it opens at no time. {error}"),
    "worth_unknown": _("What is held in {symbol} has no known price yet, so the limit cannot be checked."),
    "too_many_entries": _(
        "The strategy sent {most} entries within {seconds} s and was switched off. Switch it on when you know why."
    ),
    "cover_changed": _("What it was to cover changed before it was sent; another order takes its place."),
    "trigger_passed": _("The market was beyond its trigger already, so it was not sent."),
    # What the exchange said
    "not_sent": _("No connection to the exchange: nothing was sent. {detail}"),
    "refused": _("The exchange refused it ({code}): {detail}"),
    "never_arrived": _(
        "The exchange never got it: asked twice after its time stamp had run out, and not found anywhere."
    ),
    "rate_limited": _("The exchange takes no more requests for now. {detail}"),
    # Notices about protection
    "unprotected": _("{strategy}, {symbol} {leg}: not protected at the exchange, {lacking} is missing. {detail}"),
    "closed_unprotected": _(
        "{strategy}, {symbol} {leg}: closed, as the strategy says, because {lacking} could not be placed. {detail}"
    ),
    "closed_past_trigger": _(
        "{strategy}, {symbol} {leg}: closed at once, because the market was beyond the {role} at {trigger} already."
    ),
    "close_ignored": _("{strategy}, {symbol} {leg} stays open: alarm {alarm} to close it was ignored. {why}"),
    # Notices about orders, and about the notifications themselves
    "unsettled_order": _(
        "{symbol}: what became of order {order} is not known yet. No entry is sent there until it is."
    ),
    "exit_refused": _("{symbol}: the exit of {held} was refused, {tries} times so far. {detail}"),
    "channel_unreadable": _("No key of FIELD_ENCRYPTION_KEYS opens the address of the channel {channel}."),
    "notification_given_up": _("{messages} messages did not reach the channel {channel} within a day."),
    # Notices of the guards
    "kill_switch_on": _("The kill switch of {accounts} is on: entries are denied, exits go on. {who} pulled it: {why}"),
    "audit_broken": _("Somebody meddled with the audit: {detail}."),
    "strategy_stopped": _("{strategy} was switched off: it sent {most} entries within {seconds} s."),
    # Notices about the system's health
    "web_away": _("No web process shows that it lives since {since} UTC: no alarm is taken."),
    "worker_away": _("No worker shows that it lives since {since} UTC: alarms are stored, nothing trades on them."),
    "worker_idle": _("The worker lives, but no work came through the queue since {since} UTC."),
    "beat_away": _("Beat rings nothing since {since} UTC: lost bells and missing stops are not swept."),
    "broker_away": _("The broker does not answer: alarms are stored, nothing trades on them, stops are not kept."),
    "database_away": _("The database {name} does not answer."),
    "database_slow": _("The database {name} took {ms} ms for the smallest question."),
    "paper_exchange_away": _("The paper exchange does not answer: paper orders stay in flight."),
    "exchange_clock_off": _("The clock of {environment} is {offset_ms} ms from this server's: no entry is sent."),
    "exchange_clock_unmeasured": _("The clock of {environment} was last measured {since} UTC: does BingX answer?"),
    "work_lags": _("The oldest waiting row ({what}) waits since {since} UTC."),
    "low_disk": _("{megabytes} MB are free on the disk of Pelusa's files."),
    "backup_failed": _("No backup was made: {detail}"),
    "strategy_silent": _("{strategy} heard no alarm since {since} UTC; it expects one every {minutes} minutes."),
    "all_silent": _("No alarm at all came since {since} UTC, though {count} strategies expect some."),
    # What else stands in the way of trading
    "no_active_account": _("No account is switched on."),
    "lanes_frozen": _("{count} lanes take no entries: {lanes}."),
    "lanes_not_compared": _("The books of {count} lanes were not compared with the exchange for two minutes: {lanes}."),
}


# What facts hold in words of ours, as they were stored
_PHRASES = {
    "all accounts": _("all accounts"),
    "Everything together": _("Everything together"),
    "the file HALT": _("the file HALT"),
    "the fills that tell how much is held": _("the fills that tell how much is held"),
}
_OF_WHOM = {"Strategy": _("Strategy {name}"), "Account": _("Account {name}")}
_COVER = re.compile(r"(stop loss|take profit) at (\S+) for (\S+?)(?=;|$)")
_COVERS = {
    "stop loss": _("stop loss at {price} for {quantity}"),
    "take profit": _("take profit at {price} for {quantity}"),
}


def explain(reason: str, facts: Mapping[str, object]) -> str:
    """Return the sentence for `reason`; a word without one is shown as it is."""
    sentence = SENTENCES.get(reason)
    # To ask a lazy sentence whether it is empty is to translate it
    return name_of(reason) if sentence is None else str(sentence).format_map(_Shown(facts))


class _Shown(dict[str, object]):
    """Facts that a sentence asks for and that were not recorded, or are nothing, are shown as a dash."""

    def __getitem__(self, key: str) -> object:
        value = self.get(key)
        if not isinstance(value, str):
            return "–" if value is None else value
        return _in_words(key, value)


def _in_words(key: str, value: str) -> str:
    """Return a fact in the reader's language where it was stored in a phrase of ours; machine words stay."""
    if key == "scope":
        kind, _space, name = value.partition(" ")
        return str(_OF_WHOM[kind]).format(name=name) if kind in _OF_WHOM else str(_PHRASES.get(value, value))
    if key == "lacking":
        value = _COVER.sub(_tell_cover, value)
    return str(_PHRASES.get(value) or in_words(value))


def _tell_cover(found: re.Match[str]) -> str:
    return str(_COVERS[found[1]]).format(price=found[2], quantity=found[3])
