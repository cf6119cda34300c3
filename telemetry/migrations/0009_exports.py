from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("telemetry", "0008_incidents"),
    ]

    operations = [
        migrations.CreateModel(
            name="ExportRow",
            fields=[
                ("exchange_id", models.UUIDField(primary_key=True, serialize=False)),
                ("due_at", models.DateTimeField()),
                ("attempts", models.PositiveIntegerField(default=0)),
            ],
            options={
                "db_table": "telemetry_export",
            },
        ),
    ]
