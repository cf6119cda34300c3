import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0002_storage_and_retention"),
        ("telemetry", "0005_batches"),
    ]

    operations = [
        migrations.CreateModel(
            name="HourMark",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("hour", models.DateTimeField()),
                ("stamp", models.UUIDField()),
                (
                    "domain",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="accounts.domain",
                    ),
                ),
            ],
            options={"db_table": "telemetry_hour_mark"},
        ),
    ]
