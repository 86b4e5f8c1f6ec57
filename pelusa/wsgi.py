"""The web process's entry point."""

import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application

from pelusa.environment import WEBHOOK_TIMEOUTS

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pelusa.settings")
application = get_wsgi_application()

_alarms = settings.DATABASES["alarms"]
if _alarms["ENGINE"] == "django.db.backends.mysql":
    _alarms["OPTIONS"] = _alarms["OPTIONS"] | WEBHOOK_TIMEOUTS
