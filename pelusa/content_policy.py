"""Which pages may run what: a strict Content-Security-Policy, relaxed for the pages that cannot do without."""

from typing import Any

from csp.middleware import CSPMiddleware, PolicyParts
from django.http import HttpRequest

# unfold's Alpine evaluates expressions; celery-beat's and unfold's widgets carry scripts and styles of their own
RELAXED: dict[str, dict[str, list[str]]] = {
    "/admin/": {
        "script-src": ["'self'", "'unsafe-eval'", "'unsafe-inline'"],
        "style-src": ["'self'", "'unsafe-inline'"],
    },
    # Swagger writes styles
    "/api/docs/": {"style-src": ["'self'", "'unsafe-inline'"]},
}


class ContentPolicy(CSPMiddleware):
    """django-csp, with what each part of the site needs beyond the settings."""

    def get_policy_parts(self, request: HttpRequest, response: Any, report_only: bool = False) -> PolicyParts:
        parts = super().get_policy_parts(request, response, report_only)
        path = request.path_info
        relaxed = next((RELAXED[prefix] for prefix in RELAXED if path.startswith(prefix)), None)
        parts.replace = (relaxed or {}) | (parts.replace or {})
        return parts
