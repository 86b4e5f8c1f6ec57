from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("operations", "0001_first")]

    operations = [
        migrations.AddField(
            model_name="lane",
            name="compared_at",
            field=models.DateTimeField(
                help_text="When our books and the exchange's position here were last compared with certainty.",
                null=True,
            ),
        ),
    ]
