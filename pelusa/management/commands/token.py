"""`manage.py token USER [--role viewer|trader|operator]`."""

from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from knox.models import AuthToken

from pelusa.roles import ROLES, give_role


class Command(BaseCommand):
    """Make a user when there is none, and print a new API token for it."""

    help = "Print a new API token for USER, who is made when there is none (a viewer, unless --role says otherwise)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("user", metavar="USER")
        parser.add_argument("--role", choices=ROLES, help="What the user may do from now on; a new user is a viewer.")

    def handle(self, *args: Any, **options: Any) -> str:
        with transaction.atomic():
            user = self._user(options["user"], options["role"])
            _, token = AuthToken.objects.create(user=user)
        return str(token)

    def _user(self, name: str, role: str | None) -> Any:
        users = get_user_model()
        user = users.objects.filter(username=name).first()
        if user is None:
            user, role = self._new_user(name), role or "viewer"
            self.stderr.write(f"made user {name} as {role}")
        if not user.is_active:
            raise CommandError(f"user {name} is switched off: a token would open nothing")
        if role:
            self._give(user, role)
        return user

    def _new_user(self, name: str) -> Any:
        user = get_user_model()(username=name)
        user.set_unusable_password()
        try:
            user.full_clean(exclude=["password"])
        except ValidationError as error:
            raise CommandError(f"USER: {' '.join(error.messages)}") from None
        user.save()
        return user

    def _give(self, user: Any, role: str) -> None:
        try:
            give_role(user, role)
        except Group.DoesNotExist:
            raise CommandError("the roles are not there yet: run `manage.py migrate` first") from None
