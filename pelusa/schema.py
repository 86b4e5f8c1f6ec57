"""What the OpenAPI description says beyond what drf-spectacular finds by itself."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension

REFUSALS = {
    "400": "Something in the request is wrong; `fields` says what.",
    "401": "No user: send `Authorization: Token …` or log in.",
    "403": "The user's role does not allow it, or the address is not allowed.",
    "404": "There is no such thing.",
    "409": "What is stored does not allow it.",
}

ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "fields", "request_id"],
            "properties": {
                "code": {"type": "string", "description": "A machine word.", "example": "invalid"},
                "message": {"type": "string", "description": "A sentence."},
                "fields": {
                    "type": "object",
                    "description": "Sentences per field; nested fields with a dot, e.g. `long.entry_interval`.",
                    "additionalProperties": {"type": "array", "items": {"type": "string"}},
                },
                "request_id": {"type": "string", "description": "Finds the request in the log."},
            },
        }
    },
}


class KnoxScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """`Authorization: Token …`."""

    target_class = "knox.auth.TokenAuthentication"
    match_subclasses = True
    # Above drf-spectacular's own, which calls it a bearer token
    priority = 1
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        description = "`Token` and the token that `manage.py token USER` printed."
        return {"type": "apiKey", "in": "header", "name": "Authorization", "description": description}


def add_error_shape(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Add the one error shape to every operation (a hook after generation)."""
    result.setdefault("components", {}).setdefault("schemas", {})["Error"] = ERROR
    for operations in result.get("paths", {}).values():
        for method, operation in operations.items():
            for status in _statuses(method):
                operation["responses"].setdefault(status, _refusal(status))
    return result


def _statuses(method: str) -> list[str]:
    asked = ["400", "401", "403", "404"]
    return asked if method in ("get", "head", "options") else [*asked, "409"]


def _refusal(status: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {"content": content, "description": REFUSALS[status]}
