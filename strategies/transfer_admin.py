"""Export and import of strategies in the back office: a file out, and a file in after a look at what it would do."""

import json
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import IntegrityError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from unfold.admin import ModelAdmin
from unfold.decorators import action

from strategies.importing import Act, Plan, Unreadable, carry_out, plan_import, read_document
from strategies.models import Strategy
from strategies.portable import document_of, exportable

# Below what a form may post
MOST_BYTES = 800_000


class DocumentForm(forms.Form):
    """A document of strategies, as a file or as text."""

    document = forms.FileField(required=False)
    text = forms.CharField(required=False, widget=forms.Textarea(attrs={"rows": 8, "spellcheck": "false"}))
    as_they_were = forms.BooleanField(required=False)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        file = cleaned.get("document")
        if file and file.size > MOST_BYTES:
            raise forms.ValidationError(_("The file is too large."))
        try:
            cleaned["entries"] = read_document(file.read() if file else cleaned.get("text", ""))
        except Unreadable as problem:
            raise forms.ValidationError(str(problem)) from None
        return cleaned


class TransferPages(ModelAdmin):
    """What a strategies' list offers to carry them from one installation to another."""

    def has_import_permission(self, request: HttpRequest) -> bool:
        """An import makes strategies and changes them."""
        return self.has_add_permission(request) and self.has_change_permission(request)

    @admin.action(description=_("Export as JSON"), permissions=["view"])
    def export_selected(self, request: HttpRequest, queryset: QuerySet[Strategy]) -> HttpResponse:
        return _file_of(queryset)

    @action(description=_("Export all"), permissions=["view"], url_path="export", icon="download")
    def export(self, request: HttpRequest) -> HttpResponse:
        return _file_of(Strategy.objects.all())

    @action(
        description=_("Import"),
        permissions=["import"],
        url_path="import",
        icon="upload",
    )
    def upload(self, request: HttpRequest) -> HttpResponse:
        """Show what would become of a document; do it when that very thing was confirmed."""
        form = DocumentForm(request.POST or None, request.FILES or None)
        if request.method != "POST" or not form.is_valid():
            return self._import_page(request, form)
        said = form.cleaned_data
        plan = plan_import(said["entries"], request.user, as_they_were=said["as_they_were"])
        confirmed = request.POST.get("confirmed")
        if confirmed == plan.fingerprint and plan.is_possible:
            return self._import(request, plan)
        if confirmed:
            self.message_user(request, _("Something changed meanwhile: look again."), messages.WARNING)
        return self._import_page(request, form, plan)

    def _import_page(self, request: HttpRequest, form: DocumentForm, plan: Plan | None = None) -> HttpResponse:
        context = self.admin_site.each_context(request) | {
            "title": _("Import strategies"),
            "opts": self.opts,
            "form": form,
            "plan": plan,
        }
        if plan:
            document = document_of([], timezone.now()) | {"strategies": form.cleaned_data["entries"]}
            context |= {"text": json.dumps(document), "as_they_were": form.cleaned_data["as_they_were"]}
            context["has_anything"] = any(each.act is not Act.KEEP for each in plan.items)
        return TemplateResponse(request, "strategies/import.html", context)

    def _import(self, request: HttpRequest, plan: Plan) -> HttpResponse:
        try:
            carry_out(plan)
        except IntegrityError:
            self.message_user(request, _("Nothing was imported: somebody was faster."), messages.ERROR)
            return HttpResponseRedirect(request.path)
        count = sum(each.act is not Act.KEEP for each in plan.items)
        words = ngettext("%(count)s strategy was imported.", "%(count)s strategies were imported.", count)
        self.message_user(request, words % {"count": count}, messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:strategies_strategy_changelist"))


def _file_of(strategies: QuerySet[Strategy]) -> HttpResponse:
    now = timezone.now()
    answer = JsonResponse(
        document_of(exportable(strategies), now), json_dumps_params={"indent": 1, "ensure_ascii": False}
    )
    answer["Content-Disposition"] = f'attachment; filename="strategies-{now:%Y%m%dT%H%M%SZ}.json"'
    return answer
