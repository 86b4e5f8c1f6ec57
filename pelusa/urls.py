"""Every route, on one page."""

from django.contrib import admin
from django.contrib.auth.decorators import login_required
from django.urls import include, path
from django.views.generic import RedirectView
from django.views.i18n import set_language
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.routers import DefaultRouter

from alarms.api import AlarmViewSet
from alarms.webhook import receive
from exchange.api import AccountViewSet
from exchange.wealth_api import BalanceViewSet, PositionViewSet
from market.api import InstrumentViewSet
from market.chart_api import ChartView
from market.klines_api import KlineViewSet
from market.series_api import BackfillViewSet, SeriesViewSet
from operations.api import DecisionViewSet, FillViewSet, OperationViewSet, OrderViewSet
from operations.guards_api import KillSwitchViewSet, LimitsViewSet, NoticeViewSet
from pelusa.audit.admin import object_history
from pelusa.audit.api import AuditViewSet
from pelusa.doctor.page import doctor
from pelusa.doctor.proxy import SeenView
from pelusa.health import Ready, live
from pelusa.monitoring.metrics import MetricsView
from pelusa.office import account, chart, closing, composer, export, health_page, overview, strategy_page, why
from strategies.api import StrategyViewSet
from strategies.portable_api import ExportView, ImportView

api = DefaultRouter()
api.include_format_suffixes = False
api.register("alarms", AlarmViewSet, basename="alarm")
api.register("strategies", StrategyViewSet, basename="strategy")
api.register("operations", OperationViewSet, basename="operation")
api.register("orders", OrderViewSet, basename="order")
api.register("fills", FillViewSet, basename="fill")
api.register("decisions", DecisionViewSet, basename="decision")
api.register("instruments", InstrumentViewSet, basename="instrument")
api.register("klines", KlineViewSet, basename="kline")
api.register("series", SeriesViewSet, basename="series")
api.register("backfills", BackfillViewSet, basename="backfill")
api.register("accounts", AccountViewSet, basename="account")
api.register("balances", BalanceViewSet, basename="balance")
api.register("positions", PositionViewSet, basename="position")
api.register("kill-switch", KillSwitchViewSet, basename="kill-switch")
api.register("limits", LimitsViewSet, basename="limits")
api.register("notices", NoticeViewSet, basename="notice")
api.register("audit", AuditViewSet, basename="audit")

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index"), name="root"),
    path("admin/", include(strategy_page.urls())),
    # Before Django's own, which knows nothing of the API
    path(
        "admin/<slug:app>/<slug:model>/<path:object_id>/history/",
        admin.site.admin_view(object_history),
        name="object_history",
    ),
    path("admin/doctor/", admin.site.admin_view(doctor), name="doctor"),
    path(
        "admin/",
        include(
            overview.urls() + why.urls() + chart.urls() + composer.urls() + export.urls() + health_page.urls(),
        ),
    ),
    path("admin/", include(closing.urls() + account.urls())),
    path("admin/", admin.site.urls),
    path("i18n/setlang/", set_language, name="set_language"),
    # With and without the last slash: TradingView would not repeat the body after a redirect
    path("webhook", receive, name="webhook"),
    path("webhook/", receive),
    path("webhook/<str:secret>", receive),
    path("webhook/<str:secret>/", receive),
    path("api/v1/strategies/export/", ExportView.as_view(), name="strategies_export"),
    path("api/v1/strategies/import/", ImportView.as_view(), name="strategies_import"),
    path("api/v1/", include(api.urls)),
    path("get-k-line-data", ChartView.as_view(), name="chart"),
    path("get-k-line-data/", RedirectView.as_view(pattern_name="chart", query_string=True)),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", login_required(SpectacularSwaggerSplitView.as_view(url_name="schema")), name="docs"),
    path("health/live", live, name="live"),
    path("health/ready", Ready.as_view(), name="ready"),
    path("metrics", MetricsView.as_view(), name="metrics"),
    path("health/seen", SeenView.as_view(), name="seen"),
]

handler400 = "pelusa.errors.bad_request"
handler403 = "pelusa.errors.permission_denied"
handler404 = "pelusa.errors.not_found"
handler500 = "pelusa.errors.server_error"
