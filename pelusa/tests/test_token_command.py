"""`manage.py token`: a user and a way in, and nothing but the token on the last line."""

from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from knox.models import AuthToken
from rest_framework.test import APIClient

from pelusa.testing import DATABASES

pytestmark = pytest.mark.django_db(databases=DATABASES)
User = get_user_model()


def token(*words: str) -> str:
    out = StringIO()
    call_command("token", *words, stdout=out, stderr=StringIO())
    [line] = out.getvalue().splitlines()
    return line


def roles_of(name: str) -> set[str]:
    return set(User.objects.get(username=name).groups.values_list("name", flat=True))


def test_a_new_user_is_a_viewer_without_a_password() -> None:
    token("ana")
    assert roles_of("ana") == {"viewer"}
    assert not User.objects.get(username="ana").has_usable_password()


def test_the_token_opens_the_api_and_only_its_digest_is_kept() -> None:
    text = token("ana")
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {text}")
    assert client.get("/api/v1/alarms/").status_code == 200
    assert text not in str(AuthToken.objects.values())


def test_a_second_token_does_not_close_the_first() -> None:
    assert token("ana") != token("ana")
    assert AuthToken.objects.count() == 2
    assert User.objects.count() == 1


def test_a_role_is_given_and_replaces_the_one_before() -> None:
    Group.objects.create(name="readers of the press")
    token("ana", "--role", "operator")
    User.objects.get(username="ana").groups.add(Group.objects.get(name="readers of the press"))
    token("ana")
    assert roles_of("ana") == {"operator", "readers of the press"}
    token("ana", "--role", "trader")
    assert roles_of("ana") == {"trader", "readers of the press"}


def test_an_unknown_role_makes_nobody() -> None:
    with pytest.raises(CommandError, match="invalid choice"):
        token("ana", "--role", "king")
    assert not User.objects.exists()


@pytest.mark.parametrize("name", ["", "with space", "x" * 200, "line\nbreak"])
def test_a_name_that_is_no_user_name_is_refused(name: str) -> None:
    with pytest.raises(CommandError, match=r"USER: "):
        token(name)
    assert not User.objects.exists()


def test_a_user_that_is_switched_off_gets_no_token() -> None:
    User.objects.create_user("ana", is_active=False)
    with pytest.raises(CommandError, match="switched off"):
        token("ana")
    assert not AuthToken.objects.exists()


def test_before_the_first_migration_the_sentence_says_what_to_do() -> None:
    Group.objects.all().delete()
    with pytest.raises(CommandError, match="migrate"):
        token("ana")
    assert not User.objects.exists()


def test_a_token_is_refused_once_its_time_is_over_whatever_else_its_user_has() -> None:
    token("ana")
    user = User.objects.get(username="ana")
    statuses = []
    for seconds in (-1, 60):
        _, text = AuthToken.objects.create(user=user, expiry=timedelta(seconds=seconds))
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Token {text}")
        statuses.append(client.get("/api/v1/alarms/").status_code)
    assert statuses == [401, 200]
