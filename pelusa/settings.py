"""Every setting, all from the environment or `.env`; a bad value stops the start with its name.

The names are documented in `.env.example`. Secrets that nobody set are made once and kept under `var/`.
"""

import secrets
import sys
from datetime import timedelta
from pathlib import Path

from cryptography.fernet import Fernet
from django.templatetags.static import static
from django.utils.translation import gettext_lazy as _
from environ import Env

from pelusa import embedded
from pelusa.environment import (
    comma_list,
    database,
    exchange_url,
    host_name,
    http_url,
    kept_secret,
    networks,
    one_of,
    passphrase,
    whole_number,
    yes_or_no,
)

BASE_DIR = Path(__file__).resolve().parent.parent
env = Env()
env.read_env(env.str("ENV_FILE", default=str(BASE_DIR / ".env")))


def setting(name: str, default: str) -> str:
    """Return a setting as text; one that is there and empty counts as not there."""
    return env.str(name, default="").strip() or default


VAR_DIR = Path(setting("VAR_DIR", str(BASE_DIR / "var"))).resolve()
VAR_DIR.mkdir(parents=True, exist_ok=True)
TESTING = Path(sys.argv[0]).name in ("pytest", "py.test") or "pytest" in sys.modules

# The name that people and TradingView know us by, over HTTPS; what follows from it need not be said again
PELUSA_DOMAIN = host_name("PELUSA_DOMAIN", _domain) if (_domain := setting("PELUSA_DOMAIN", "")) else ""
_address = f"https://{PELUSA_DOMAIN}" if PELUSA_DOMAIN else ""

# Django
SECRET_KEY = setting("SECRET_KEY", "") or kept_secret(VAR_DIR / "secret_key", lambda: secrets.token_urlsafe(50))
DEBUG = yes_or_no("DEBUG", setting("DEBUG", "off"))
ALLOWED_HOSTS = comma_list(setting("ALLOWED_HOSTS", f"{PELUSA_DOMAIN},localhost,127.0.0.1,[::1]"))
CSRF_TRUSTED_ORIGINS = comma_list(setting("CSRF_TRUSTED_ORIGINS", _address))
PORT = whole_number("PORT", setting("PORT", "8000"), least=1, most=65535)

INSTALLED_APPS = [
    "pelusa",
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "django_filters",
    "knox",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_celery_beat",
    "axes",
    "alarms",
    "operations",
    "strategies",
    "market",
    "exchange",
]

MIDDLEWARE = [
    "pelusa.middleware.RequestContext",
    "pelusa.middleware.AddressRules",
    "django.middleware.security.SecurityMiddleware",
    "pelusa.content_policy.ContentPolicy",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]

ROOT_URLCONF = "pelusa.urls"
WSGI_APPLICATION = "pelusa.wsgi.application"
# A redirect to the address with a slash would lose the body of TradingView's POST.
APPEND_SLASH = False

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "pelusa" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# Three databases behind one router
_test_dir = VAR_DIR / "test"
DATABASES = {
    alias: database(
        name, setting(name, f"sqlite:///{VAR_DIR / file}"), test_dir=_test_dir, sends_files=alias == "market"
    )
    for alias, name, file in (
        ("default", "DATABASE_URL", "operations.sqlite3"),
        ("alarms", "ALARMS_DATABASE_URL", "alarms.sqlite3"),
        ("market", "MARKET_DATABASE_URL", "market.sqlite3"),
    )
}
DATABASE_ROUTERS = ["pelusa.routers.ThreeDatabases"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Queue: the database holds the work, the broker only rings the bell
CELERY_BROKER_URL = setting("CELERY_BROKER_URL", "")
EMBEDDED_BROKER = not CELERY_BROKER_URL
if EMBEDDED_BROKER:
    CELERY_BROKER_URL = embedded.broker_url(VAR_DIR)

# Language and time
LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("es", _("Spanish"))]
LOCALE_PATHS = [BASE_DIR / "pelusa" / "locale"]
FORMAT_MODULE_PATH = ["pelusa.formats"]
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"

# Files
STATIC_URL = "/static/"
STATIC_ROOT = VAR_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "pelusa" / "static"]
_manifest = (
    "django.contrib.staticfiles.storage.StaticFilesStorage"
    if DEBUG or TESTING
    else "whitenoise.storage.CompressedManifestStaticFilesStorage"
)
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": _manifest},
}

# Backups
BACKUP_DIR = Path(setting("BACKUP_DIR", str(VAR_DIR / "backups"))).resolve()
BACKUP_KEEP = whole_number("BACKUP_KEEP", setting("BACKUP_KEEP", "14"), least=1, most=10_000)
BACKUP_PASSPHRASE = passphrase("BACKUP_PASSPHRASE", setting("BACKUP_PASSPHRASE", ""))

# Where people reach the back office, for links in messages; empty: no links
PELUSA_URL = http_url("PELUSA_URL", _url) if (_url := setting("PELUSA_URL", _address)) else ""

# Sessions and headers
BEHIND_TLS = yes_or_no("BEHIND_TLS", setting("BEHIND_TLS", "on" if PELUSA_DOMAIN else "off"))
# Their rows hold a digest in the place of the cookie
SESSION_ENGINE = "pelusa.sessions"
SESSION_COOKIE_AGE = 8 * 3600
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Strict"
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = LANGUAGE_COOKIE_SECURE = BEHIND_TLS
LANGUAGE_COOKIE_SAMESITE = "Strict"
# A browser takes such a name from this host alone, over HTTPS, for all paths
_cookie = "__Host-pelusa-" if BEHIND_TLS else "pelusa-"
SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = f"{_cookie}session", f"{_cookie}csrf"
SECURE_SSL_REDIRECT = BEHIND_TLS
SECURE_REDIRECT_EXEMPT = [r"^webhook", r"^health/"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_TLS else None
SECURE_HSTS_SECONDS = 31_536_000 if BEHIND_TLS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = BEHIND_TLS
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }
}
LOGIN_URL = "admin:login"
CSRF_FAILURE_VIEW = "pelusa.errors.forged_form"
# Five wrong passwords shut an address, and a user name from an address, out for a quarter of an hour
AXES_FAILURE_LIMIT = 5
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"], "ip_address"]
AXES_COOLOFF_TIME = timedelta(minutes=15)
# Else each further guess would make the row longer, and the lock
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_CLIENT_IP_CALLABLE = "pelusa.lockout.address_of"
AXES_USERNAME_CALLABLE = "pelusa.lockout.name_of"
AXES_LOCKOUT_CALLABLE = "pelusa.lockout.locked_out"
AXES_SENSITIVE_PARAMETERS = ["username", "ip_address", "csrfmiddlewaretoken"]
AXES_VERBOSE = False
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_048_576

# API
API_REQUESTS_PER_MINUTE = whole_number(
    "API_REQUESTS_PER_MINUTE", setting("API_REQUESTS_PER_MINUTE", "3000"), least=10, most=10_000_000
)
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "pelusa.tokens.ApiTokens",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["pelusa.roles.RolePermissions"],
    "DEFAULT_THROTTLE_CLASSES": ["pelusa.throttles.ApiThrottle"],
    "DEFAULT_PAGINATION_CLASS": "pelusa.pages.NewestFirst",
    "DEFAULT_FILTER_BACKENDS": ["pelusa.pages.NamedFilters"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_RENDERER_CLASSES": ["pelusa.writing.QuickJSON", "rest_framework.renderers.BrowsableAPIRenderer"],
    "DEFAULT_PARSER_CLASSES": ["pelusa.reading.ExactJSONParser", "rest_framework.parsers.FormParser"],
    "EXCEPTION_HANDLER": "pelusa.errors.answer_with_one_shape",
    "COERCE_DECIMAL_TO_STRING": True,
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
    "PAGE_SIZE": 50,
}
REST_KNOX = {"TOKEN_TTL": None, "AUTH_HEADER_PREFIX": "Token", "TOKEN_MODEL": "knox.AuthToken"}
SPECTACULAR_SETTINGS = {
    "TITLE": "Pelusa",
    "DESCRIPTION": "TradingView alarms become orders on BingX, and each says why.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.IsAuthenticated"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "COMPONENT_SPLIT_REQUEST": True,
    "POSTPROCESSING_HOOKS": ["drf_spectacular.hooks.postprocess_schema_enums", "pelusa.schema.add_error_shape"],
    "ENUM_NAME_OVERRIDES": {
        "AlarmStatusEnum": "alarms.models.Alarm.Status",
        "OperationStatusEnum": "operations.models.Operation.Status",
        "OrderStatusEnum": "operations.states.OrderStatus",
        "MarketEnum": "exchange.models.MarketChoices",
    },
}
UNFOLD = {
    "SITE_TITLE": "Pelusa",
    "SITE_HEADER": "Pelusa",
    "SITE_SYMBOL": "candlestick_chart",
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_HISTORY": True,
    "SHOW_LANGUAGES": True,
    "SITE_URL": None,
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("pelusa/favicon.svg")}],
    "STYLES": [lambda request: static("pelusa/admin.css")],
    "SCRIPTS": [lambda request: static("pelusa/live.js")],
    "DASHBOARD_CALLBACK": "pelusa.office.overview.first_page",
    "SIDEBAR": {"show_search": True, "navigation": "pelusa.navigation.sidebar"},
    "ENVIRONMENT": "pelusa.navigation.environment_badge",
}

# Trading
PELUSA_TRADING = one_of("PELUSA_TRADING", setting("PELUSA_TRADING", "paper"), ("paper", "vst", "live"))
# A brake that needs no database: entries stop, exits go on
PELUSA_HALT = yes_or_no("PELUSA_HALT", setting("PELUSA_HALT", "off"))
_paper_url = setting("BINGX_PAPER_URL", "")
EMBEDDED_PAPER = not _paper_url
# The second is BingX's own, for where the first is blocked
BINGX_HOSTS = ("open-api.bingx.com", "open-api.bingx.pro")
VST_HOSTS = ("open-api-vst.bingx.com", "open-api-vst.bingx.pro")
BINGX_URLS = {
    "live": exchange_url("BINGX_URL", setting("BINGX_URL", f"https://{BINGX_HOSTS[0]}"), BINGX_HOSTS),
    "vst": exchange_url("BINGX_VST_URL", setting("BINGX_VST_URL", f"https://{VST_HOSTS[0]}"), VST_HOSTS),
    "paper": http_url("BINGX_PAPER_URL", _paper_url or f"http://127.0.0.1:{PORT + 1 if PORT < 65535 else PORT - 1}"),
}
BINGX_PAPER_URL = BINGX_URLS["paper"]
# Where the exchange's rate limits are kept, counted in the broker's Redis for all processes together
PACED_ENVIRONMENTS = {"vst", "live"}
PACING_REDIS_URL = embedded.redis_url(CELERY_BROKER_URL)
BINGX_API_KEY = setting("BINGX_API_KEY", "").strip()
BINGX_API_SECRET = setting("BINGX_API_SECRET", "").strip()
FIELD_ENCRYPTION_KEYS = comma_list(setting("FIELD_ENCRYPTION_KEYS", "")) or [
    kept_secret(VAR_DIR / "field_encryption_key", lambda: Fernet.generate_key().decode())
]

# Webhook
WEBHOOK_SECRETS = comma_list(setting("WEBHOOK_SECRETS", "")) or [
    kept_secret(VAR_DIR / "webhook_secret", lambda: secrets.token_urlsafe(32))
]
WEBHOOK_MAX_BODY = 16_384
IP_ALLOW = setting("IP_ALLOW", "/webhook=tradingview,127.0.0.0/8,::1")
IP_DENY = setting("IP_DENY", "")
IP_OBSERVE_ONLY = yes_or_no("IP_OBSERVE_ONLY", setting("IP_OBSERVE_ONLY", "off"))
TRUSTED_PROXIES = networks("TRUSTED_PROXIES", setting("TRUSTED_PROXIES", ""))

# Logs: Loguru takes every line, so Django must not configure the standard library's handlers
LOG_LEVEL = one_of("LOG_LEVEL", setting("LOG_LEVEL", "INFO"), ("trace", "debug", "info", "warning", "error")).upper()
LOG_JSON = yes_or_no("LOG_JSON", setting("LOG_JSON", "off"))
LOG_FILE = Path(setting("LOG_FILE", str(VAR_DIR / "log" / "pelusa.log")))
LOGGING_CONFIG = "pelusa.logs.configure"
LOGGING = {"level": LOG_LEVEL, "json": LOG_JSON, "file": None if TESTING else LOG_FILE}
