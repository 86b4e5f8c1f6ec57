from django.db import migrations

from pelusa.audit.guard import lift_guard, raise_guard


def guard(apps, schema_editor):
    raise_guard(schema_editor.connection)


def lift(apps, schema_editor):
    lift_guard(schema_editor.connection)


class Migration(migrations.Migration):
    """The database refuses to change or remove an entry of the audit, where it lets us tell it so."""

    dependencies = [("pelusa", "0003_audit")]

    operations = [migrations.RunPython(guard, lift, elidable=False)]
