from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("telemetry", "0006_hours"),
    ]

    operations = []
