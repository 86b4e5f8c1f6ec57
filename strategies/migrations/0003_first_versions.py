from django.db import migrations

from strategies.versions import content_of


def keep_first_versions(apps, schema_editor):
    strategies = apps.get_model("strategies", "Strategy").objects.using(schema_editor.connection.alias)
    versions = apps.get_model("strategies", "StrategyVersion").objects.using(schema_editor.connection.alias)
    for strategy in strategies.filter(version=0).prefetch_related("legs"):
        content = content_of(strategy, strategy.legs.all())
        versions.create(strategy=strategy, number=1, content=content, note="As it was when versions began.")
        strategies.filter(pk=strategy.pk).update(version=1)


class Migration(migrations.Migration):
    """Every strategy that is there begins with version 1."""

    dependencies = [("strategies", "0002_versions")]

    operations = [migrations.RunPython(keep_first_versions, migrations.RunPython.noop)]
