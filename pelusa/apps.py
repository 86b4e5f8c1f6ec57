"""What is wired once, when every app is loaded."""

from django.apps import AppConfig, apps
from django.conf import settings
from django.db.models.signals import post_init, post_migrate, post_save


class PelusaConfig(AppConfig):
    """The project itself: roles, system checks, the OpenAPI extension, and keys that must never reach a log."""

    name = "pelusa"

    def ready(self) -> None:
        from exchange.main_account import keep_main_account
        from pelusa import checks, lockout, schema  # noqa: F401  they register themselves
        from pelusa.addresses import parse_rules
        from pelusa.audit import recording
        from pelusa.logs import keep_account_keys_out
        from pelusa.notifications.addresses import keep_address_out
        from pelusa.numbering import after_migration
        from pelusa.roles import make_roles

        # Here, so that no process starts with rules that the web process would refuse
        parse_rules("IP_ALLOW", settings.IP_ALLOW)
        parse_rules("IP_DENY", settings.IP_DENY)
        post_migrate.connect(make_roles, dispatch_uid="pelusa.roles")
        post_migrate.connect(keep_main_account, sender=apps.get_app_config("exchange"), dispatch_uid="pelusa.main")
        post_migrate.connect(after_migration, sender=apps.get_app_config("alarms"), dispatch_uid="pelusa.numbering")
        for signal in (post_init, post_save):
            signal.connect(keep_address_out, sender="pelusa.Channel", dispatch_uid="pelusa.channels")
            signal.connect(keep_account_keys_out, sender="exchange.Account", dispatch_uid="pelusa.logs")
        recording.listen()
