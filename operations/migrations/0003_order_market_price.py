from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("operations", "0002_lane_compared_at")]

    operations = [
        migrations.AddField(
            model_name="order",
            name="market_price",
            field=models.DecimalField(
                decimal_places=12,
                help_text="The market's when an entry was submitted: what limits reckon with until its own is known.",
                max_digits=28,
                null=True,
            ),
        ),
    ]
