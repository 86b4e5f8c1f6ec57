"""Read a JSON body the way money wants it: exact decimals, no key twice, and bounded in size and depth."""

import codecs
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import IO, Any

from django.conf import settings
from django.utils.translation import gettext_lazy as _
from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import JSONParser


class TooLarge(APIException):
    """The body is larger than DATA_UPLOAD_MAX_MEMORY_SIZE."""

    status_code = 413
    default_detail = _("The request is too large.")
    default_code = "too_large"


class ExactJSONParser(JSONParser):
    """DRF's parser reads without a limit, makes floats, keeps the last of two equal keys and breaks on deep nesting."""

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        body = stream.read(limit + 1)
        if len(body) > limit:
            raise TooLarge
        try:
            return json.loads(_text(body), parse_float=Decimal, parse_constant=_refuse, object_pairs_hook=_object)
        except (ValueError, RecursionError) as error:
            raise ParseError(_("The body is not JSON that can be read: %(words)s") % {"words": _words(error)}) from None


def _text(body: bytes) -> str:
    return codecs.decode(body, "utf-8", "strict")


def _refuse(constant: str) -> None:
    raise ValueError(_("%(word)s is no number") % {"word": constant})


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(
            _("the key %(key)s is there twice") % {"key": repr(next(key for key in keys if keys.count(key) > 1))}
        )
    return found


def _words(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return str(_("it is nested too deeply."))
    return f"{error}."
