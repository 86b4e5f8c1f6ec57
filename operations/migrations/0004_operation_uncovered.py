from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("operations", "0003_order_market_price")]

    operations = [
        migrations.AddIndex(
            model_name="operation",
            index=models.Index(fields=["uncovered_since"], name="operation_uncovered"),
        ),
    ]
