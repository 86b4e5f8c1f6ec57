"""Channels in the back office: the address goes in and never comes out, a button tries it, messages show their fate."""

from functools import partial
from typing import Any
from zoneinfo import available_timezones

from django import forms
from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Length
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import override
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from exchange.acts import tell_act
from exchange.admin import WriteOnlyField
from exchange.backoffice import Ledger, changed_columns, time_column, without_secrets
from exchange.encryption import WrongKey
from exchange.models import Account
from pelusa.notifications.addresses import check_address
from pelusa.notifications.models import Channel, Kind, Message
from pelusa.notifications.outbox import send_test
from pelusa.notifications.wording import tell_test

LEVEL_COLOURS = {"info": "info", "warning": "warning", "critical": "danger"}
FATE_COLOURS: dict[str, str] = {
    Message.Status.WAITING: "info",
    Message.Status.SENDING: "info",
    Message.Status.SENT: "success",
    Message.Status.UNKNOWN: "warning",
    Message.Status.GIVEN_UP: "danger",
}
FATE_TONES = {Message.Status.SENT: messages.SUCCESS, Message.Status.UNKNOWN: messages.WARNING}
ROWS_SHOWN = 20


class ChannelForm(forms.ModelForm):
    """The channel without its address, and an empty field to replace it."""

    new_url = WriteOnlyField(
        label=_("Address"),
        help_text=_(
            "tgram://bot-token/chat-id, discord://webhook-id/webhook-token, mailtos://user:password@host?to=me@host,"
            " ntfys://host/topic, jsons://host/path … Stored encrypted and never shown again. Empty: keep it."
        ),
    )
    kinds = forms.MultipleChoiceField(
        label=_("Events"), choices=Kind.choices, widget=UnfoldAdminCheckboxSelectMultipleWidget, initial=Kind.values
    )

    class Meta:
        model = Channel
        fields = (
            "name",
            "is_active",
            "least_level",
            "kinds",
            "accounts",
            "language",
            "gather_minutes",
            "daily_hour",
            "quiet_from",
            "quiet_until",
            "time_zone",
            "critical_passes",
            "per_minute",
        )

    def clean_new_url(self) -> str:
        url = str(self.cleaned_data["new_url"]).strip()
        if url:
            check_address(url)
        elif self.instance.pk is None:
            raise forms.ValidationError(_("A new channel needs an address."))
        return url

    def clean_time_zone(self) -> str:
        zone = str(self.cleaned_data["time_zone"]).strip()
        if zone not in available_timezones():
            raise forms.ValidationError(_("There is no such time zone; write it like Europe/Madrid."))
        return zone

    def save(self, commit: bool = True) -> Channel:
        if self.cleaned_data.get("new_url"):
            self.instance.url = self.cleaned_data["new_url"]
        return super().save(commit=commit)


def _columns(channel: Channel, form: Any) -> list[str]:
    """Return what to write of a channel that a person changed, with what follows from it."""
    columns = changed_columns(form)
    if "is_active" in columns and channel.is_active:
        channel.since = timezone.now()
        columns.append("since")
    if form.cleaned_data.get("new_url"):
        # Another address has not failed yet
        channel.failures, channel.paused_until = 0, None
        columns += ["url", "failures", "paused_until"]
    return columns


class _Messages(TabularInline):
    """The last messages of a channel; all of them are in their own list."""

    model = Message
    fields = ("created_at", "title", "fate", "answer")
    readonly_fields = fields
    can_delete = False
    extra = 0
    max_num = 0
    verbose_name_plural = _("Last messages")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Message]:
        queryset = super().get_queryset(request)
        match = request.resolver_match
        channel_id = int((match and match.kwargs.get("object_id")) or 0)
        newest = Message.objects.filter(channel_id=channel_id).order_by("-id").values_list("pk", flat=True)
        return queryset.filter(pk__in=list(newest[:ROWS_SHOWN]))

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @display(description=_("Fate"), label=FATE_COLOURS)
    def fate(self, message: Message) -> tuple[str, str]:
        return message.status, message.get_status_display()


@admin.register(Channel)
class ChannelAdmin(ModelAdmin):
    """Where somebody is told what happens."""

    when_empty = _("A channel tells you elsewhere what needs you: Telegram, mail, a chat.")
    form = ChannelForm
    list_display = ("name", "is_active", "least_level", "language", "has_address", "health")
    list_filter = ("is_active",)
    search_fields = ("name",)
    filter_horizontal = ("accounts",)
    fieldsets = (
        (None, {"fields": (("name", "is_active"), "new_url")}),
        (_("What"), {"fields": (("least_level", "language"), "kinds", "accounts")}),
        (
            _("When"),
            {
                "fields": (
                    ("gather_minutes", "per_minute"),
                    ("quiet_from", "quiet_until"),
                    ("time_zone", "daily_hour"),
                    "critical_passes",
                )
            },
        ),
    )
    inlines = (_Messages,)
    actions: Any = None
    actions_submit_line = ["send_test_message"]
    compressed_fields = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Channel]:
        # The length of what is stored says whether there is an address, and nothing is decrypted
        return super().get_queryset(request).defer("url").annotate(stored_length=Length("url"))

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "accounts":
            kwargs["queryset"] = Account.objects.defer(*without_secrets())
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def save_model(self, request: HttpRequest, obj: Channel, form: Any, change: bool) -> None:
        if change:
            obj.save(update_fields=_columns(obj, form))
        else:
            obj.save()
        for pressed in self.get_actions_submit_line(request, obj.pk):
            if pressed.action_name in request.POST:
                pressed.method(request, obj)

    @display(description=_("Address"), boolean=True)
    def has_address(self, channel: Channel) -> bool:
        return bool(getattr(channel, "stored_length", 0))

    @display(description=_("Works"), boolean=True)
    def health(self, channel: Channel) -> bool:
        return not channel.failures

    @action(description=_("Save and send a test message"), permissions=["send_test_message"])
    def send_test_message(self, request: HttpRequest, channel: Channel) -> None:
        """Try the channel as it was saved, after the commit: no network call holds a transaction open."""
        transaction.on_commit(partial(self._try, request, channel.pk))

    def _try(self, request: HttpRequest, channel_id: int) -> None:
        try:
            channel = Channel.objects.get(pk=channel_id)
        except WrongKey:
            words = _("No key of FIELD_ENCRYPTION_KEYS opens the address: give it again.")
            self.message_user(request, words, messages.ERROR)
            return
        with override(channel.language):
            title, body = tell_test(channel.name)
        message = send_test(channel, title, body)
        tell_act("tested", channel, note=message.status)
        told = _("%(fate)s: %(answer)s") % {"fate": message.get_status_display(), "answer": message.answer}
        self.message_user(request, told, FATE_TONES.get(Message.Status(message.status), messages.ERROR))

    def has_send_test_message_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return self.has_change_permission(request)


@admin.register(Message)
class MessageAdmin(Ledger):
    """What was told, on which channel, and whether it arrived."""

    when_empty = _("What was sent to the channels stands here.")
    list_display = (
        time_column("created_at", _("At (UTC)")),
        "channel",
        "importance",
        "title",
        "fate",
        "tries",
        time_column("ended_at", _("Ended (UTC)")),
    )
    list_filter = ("status", "level", "kind")
    search_fields = ("event",)
    search_help_text = _("What it is about, e.g. notice:12")
    fields = (
        "channel",
        "event",
        "kind",
        "level",
        "title",
        "body",
        "status",
        "answer",
        "tries",
        "due_at",
        "began_at",
        "ended_at",
        "created_at",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Message]:
        return super().get_queryset(request).select_related("channel").defer("channel__url")

    @display(description=_("Level"), label=LEVEL_COLOURS)
    def importance(self, message: Message) -> tuple[str, str]:
        return message.level, message.get_level_display()

    @display(description=_("Fate"), label=FATE_COLOURS)
    def fate(self, message: Message) -> tuple[str, str]:
        return message.status, message.get_status_display()
