from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("telemetry", "0009_exports"),
    ]

    operations = [
        migrations.AddField(
            model_name="exchangerow",
            name="correlation_id",
            field=models.CharField(default="", max_length=100),
        ),
        migrations.AddIndex(
            model_name="exchangerow",
            index=models.Index(
                condition=models.Q(("correlation_id", ""), _negated=True),
                fields=["correlation_id"],
                name="exchange_correlation",
            ),
        ),
    ]
