import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("exchange", "0001_first"),
    ]

    operations = [
        migrations.CreateModel(
            name="EquityPoint",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "taken_at",
                    models.DateTimeField(help_text="The start of the five minutes in which the exchange was asked."),
                ),
                (
                    "equity",
                    models.DecimalField(decimal_places=12, help_text="In USDT, at the last prices.", max_digits=28),
                ),
                (
                    "unvalued",
                    models.JSONField(
                        default=list, help_text="What no price is known of, e.g. spot XYZ; it is not counted."
                    ),
                ),
                (
                    "refused",
                    models.JSONField(default=list, help_text="Wallets that the exchange does not show to this key."),
                ),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="equity_points", to="exchange.account"
                    ),
                ),
            ],
            options={
                "ordering": ["-taken_at", "-id"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("account", "taken_at"), name="one_equity_point_for_each_account_and_moment"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="EquitySnapshot",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "market",
                    models.CharField(
                        choices=[
                            ("usdtm", "USDT-M perpetual"),
                            ("coinm", "COIN-M perpetual"),
                            ("spot", "Spot"),
                            ("standard", "Standard contract (read only)"),
                        ],
                        max_length=8,
                    ),
                ),
                ("asset", models.CharField(max_length=32)),
                ("taken_at", models.DateTimeField()),
                ("balance", models.DecimalField(decimal_places=12, max_digits=44)),
                (
                    "equity",
                    models.DecimalField(
                        decimal_places=12, help_text="With what open positions would add.", max_digits=44
                    ),
                ),
                ("available", models.DecimalField(decimal_places=12, max_digits=44)),
                ("used_margin", models.DecimalField(decimal_places=12, max_digits=44)),
                ("unrealised_pnl", models.DecimalField(decimal_places=12, max_digits=44)),
                (
                    "value",
                    models.DecimalField(
                        decimal_places=12,
                        help_text="The equity in USDT; empty where no price is known.",
                        max_digits=28,
                        null=True,
                    ),
                ),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="equity_snapshots",
                        to="exchange.account",
                    ),
                ),
            ],
            options={
                "ordering": ["-taken_at", "-id"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("account", "taken_at", "market", "asset"), name="one_snapshot_for_each_asset_and_moment"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("market__in", ["usdtm", "coinm", "spot", "standard"])),
                        name="snapshot_market_is_known",
                    ),
                ],
            },
        ),
    ]
