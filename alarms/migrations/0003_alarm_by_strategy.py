from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("alarms", "0002_names_and_words")]

    operations = [
        migrations.AddIndex(
            model_name="alarm", index=models.Index(fields=["strategy", "id"], name="alarm_by_strategy")
        ),
    ]
