"""The back office of what is not ours: users, groups, tokens, schedules, in unfold's dress; and the audit."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as BaseGroupAdmin
from django.contrib.auth.admin import UserAdmin as BaseUserAdmin
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django_celery_beat.admin import ClockedScheduleAdmin as BaseClockedScheduleAdmin
from django_celery_beat.admin import CrontabScheduleAdmin as BaseCrontabScheduleAdmin
from django_celery_beat.admin import PeriodicTaskAdmin as BasePeriodicTaskAdmin
from django_celery_beat.admin import PeriodicTaskForm, PeriodicTaskInline, TaskSelectWidget
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule
from knox.admin import AuthTokenCreateForm
from knox.models import AuthToken
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.views import ChangeList
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from exchange.backoffice import shown_time, time_column
from pelusa import access_admin  # noqa: F401  it registers its pages
from pelusa.audit import admin as audit_admin  # noqa: F401  it registers its page
from pelusa.audit.recording import rows_watched
from pelusa.notifications import admin as notifications_admin  # noqa: F401  it registers its pages

# Importing the packages' admin modules registered theirs; these replace them
for _model in (User, Group, AuthToken, ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule):
    admin.site.unregister(_model)

admin.site.login_template = "pelusa/login.html"

PRIVILEGES = ("is_superuser", "is_staff", "groups", "user_permissions")


@admin.register(User)
class UserAdmin(BaseUserAdmin, ModelAdmin):
    """Who may come in. A user is switched off, never deleted: the audit log names him."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = (
        "username",
        "email",
        "is_active",
        "is_staff",
        "roles",
        time_column("last_login", _("Last login (UTC)")),
    )
    compressed_fields = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).prefetch_related("groups")

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        """Nobody raises himself: only a superuser hands out roles."""
        fields = tuple(super().get_readonly_fields(request, obj))
        return fields if request.user.is_superuser else (*fields, *PRIVILEGES)

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Only a superuser may touch a superuser, for a password is a key too."""
        is_above = obj is not None and obj.is_superuser and not request.user.is_superuser
        return super().has_change_permission(request, obj) and not is_above

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return False

    @display(description=_("Roles"))
    def roles(self, user: User) -> str:
        return ", ".join(group.name for group in user.groups.all()) or "–"


@admin.register(Group)
class GroupAdmin(BaseGroupAdmin, ModelAdmin):
    """Roles: viewer, trader and operator are made at every migration."""

    compressed_fields = False

    def has_change_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return bool(request.user.is_superuser)

    has_add_permission = has_delete_permission = has_change_permission


class TokenList(ChangeList):
    """Tokens are known by the first letters of their text; their digest is a key to look them up, shown nowhere."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.pk_attname = "token_key"


class TokenForm(AuthTokenCreateForm):
    """A user, and until when."""

    class Meta(AuthTokenCreateForm.Meta):
        widgets = {"user": UnfoldAdminSelectWidget}


@admin.register(AuthToken)
class TokenAdmin(ModelAdmin):
    """API tokens: issued here, shown once, revoked by deletion."""

    add_form = TokenForm
    fields = ("user", "expiry")
    when_empty = _("A program needs a token to ask the API.")
    list_display = ("beginning", "user", time_column("created", _("Issued (UTC)")), "until")
    search_fields = ("user__username", "token_key")
    list_select_related = ("user",)
    actions: Any = None
    compressed_fields = False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return TokenList

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> AuthToken | None:
        found: AuthToken | None = self.get_queryset(request).filter(token_key=object_id).first()
        return found

    def get_form(self, request: HttpRequest, obj: AuthToken | None = None, change: bool = False, **kwargs: Any) -> Any:
        return super().get_form(request, obj, change, **({"form": self.add_form} | kwargs))

    def has_change_permission(self, request: HttpRequest, obj: AuthToken | None = None) -> bool:
        return False

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        """A token has no page but the one that revokes it."""
        return HttpResponseRedirect(reverse("admin:knox_authtoken_delete", args=[object_id]))

    def response_add(self, request: HttpRequest, obj: AuthToken, post_url_continue: str | None = None) -> HttpResponse:
        """Show the token in this one answer; nothing stores its text."""
        context = self.admin_site.each_context(request) | {
            "title": _("The new token"),
            "opts": self.opts,
            "token": obj.issued_text,
            "user": obj.user,
        }
        return TemplateResponse(request, "pelusa/token.html", context)

    def save_model(self, request: HttpRequest, obj: AuthToken, form: Any, change: bool) -> None:
        obj.save(force_insert=True)
        obj.issued_text = form.token

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        token = self.get_object(request, object_id)
        if token is None:
            raise Http404
        if not self.has_delete_permission(request, token):
            raise PermissionDenied
        if request.method == "POST":
            token.delete()
            self.message_user(request, _("The token of %(user)s is revoked.") % {"user": token.user}, messages.SUCCESS)
            return HttpResponseRedirect(reverse("admin:knox_authtoken_changelist"))
        context = self.admin_site.each_context(request) | {
            "title": _("Revoke this token?"),
            "opts": self.opts,
            "token": token,
        }
        return TemplateResponse(request, "pelusa/revoke.html", context)

    def log_addition(self, request: HttpRequest, obj: AuthToken, message: Any) -> None:
        """Django's own log would keep the digest, as it is the primary key; the audit has the first letters."""

    @display(description=_("Begins with"))
    def beginning(self, token: AuthToken) -> str:
        return f"{token.token_key}…"

    @display(description=_("Until (UTC)"))
    def until(self, token: AuthToken) -> Any:
        return shown_time(token.expiry) if token.expiry else _("for ever")


class TaskWidget(UnfoldAdminSelectWidget, TaskSelectWidget):
    """The registered tasks, in unfold's dress."""


class ScheduleForm(PeriodicTaskForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["task"].widget = UnfoldAdminTextInputWidget()
        self.fields["regtask"].widget = TaskWidget()


@admin.register(PeriodicTask)
class ScheduleAdmin(BasePeriodicTaskAdmin, ModelAdmin):
    """What beat rings, and how often."""

    form = ScheduleForm
    list_display = (
        "name",
        "enabled",
        "task",
        "rhythm",
        time_column("last_run_at", _("Last run (UTC)")),
        "total_run_count",
    )
    list_filter = ("enabled", "one_off")
    # Not `run_tasks`: the web process never waits for the broker
    actions = ("enable_tasks", "disable_tasks")
    date_hierarchy = None
    compressed_fields = False

    def response_action(self, request: HttpRequest, queryset: QuerySet[PeriodicTask]) -> Any:
        """The package switches tasks by an UPDATE, of which no signal tells."""
        with rows_watched(queryset):
            return super().response_action(request, queryset)

    @display(description=_("Rhythm"))
    def rhythm(self, task: PeriodicTask) -> str:
        return str(task.scheduler)


class TasksOfSchedule(PeriodicTaskInline, TabularInline):
    """The tasks that follow a schedule."""


@admin.register(IntervalSchedule, SolarSchedule)
class RhythmAdmin(ModelAdmin):
    """A rhythm that tasks may follow."""

    inlines = (TasksOfSchedule,)
    compressed_fields = False


@admin.register(CrontabSchedule)
class CrontabAdmin(BaseCrontabScheduleAdmin, ModelAdmin):
    inlines = (TasksOfSchedule,)
    compressed_fields = False


@admin.register(ClockedSchedule)
class ClockedAdmin(BaseClockedScheduleAdmin, ModelAdmin):
    inlines = (TasksOfSchedule,)
    compressed_fields = False
