import django.db.models.deletion
from decimal import Decimal
from datetime import timedelta

from django.db import migrations, models
from django.db.models import Max, Sum

from telemetry.money.marks import Hour, id_of
from telemetry.money.sums import as_usd, cost_sum

DIMENSIONS = ("client_key_id", "credential_id", "model", "kind")
OTHER = {"id", "hour", "domain", "client_key", "credential", "model", "kind", "cost", "assumed_cost", "last_started_at"}


def sum_days(apps, schema_editor):
    """Of the hours that are there: a day at a time, leaping from one to the next."""
    hours, days = apps.get_model("telemetry", "HourRow"), apps.get_model("telemetry", "DayRow")
    sums = {f"all_{field.name}": Sum(field.name) for field in days._meta.concrete_fields if field.name not in OTHER}
    costs = {"all_cost": cost_sum("cost"), "all_assumed_cost": cost_sum("assumed_cost")}
    first = hours.objects.order_by("hour").first()
    while first is not None:
        start = first.hour.replace(hour=0)
        of_day = hours.objects.filter(hour__gte=start, hour__lt=start + timedelta(days=1)).order_by()
        groups = of_day.values("domain_id", *DIMENSIONS).annotate(**sums, **costs, last=Max("last_started_at"))
        days.objects.bulk_create([_row(days, start, group) for group in groups], batch_size=100)
        first = hours.objects.filter(hour__gte=start + timedelta(days=1)).order_by("hour").first()


def _row(days, start, group):
    domain_id, of = group["domain_id"], {name: group[name] for name in DIMENSIONS}
    day = Hour(start, domain_id)
    summed = {name.removeprefix("all_"): value for name, value in group.items() if name.startswith("all_")}
    summed |= {name: as_usd(summed[name]) for name in ("cost", "assumed_cost")}
    row_id = id_of(day, of["client_key_id"], of["credential_id"], of["kind"], of["model"])
    return days(id=row_id, hour=start, domain_id=domain_id, **of, **summed, last_started_at=group["last"])


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0006_personal_keys'),
        ('telemetry', '0012_credentials'),
    ]

    operations = [
        migrations.CreateModel(
            name='DayRow',
            fields=[
                ('id', models.UUIDField(primary_key=True, serialize=False)),
                ('hour', models.DateTimeField()),
                ('model', models.CharField(max_length=200)),
                ('kind', models.CharField(choices=[('inference', 'Inference'), ('query_evaluation', 'Query Evaluation'), ('quota', 'Quota'), ('count_tokens', 'Count Tokens'), ('other', 'Other'), ('batch', 'Batch')], max_length=20)),
                ('cost', models.DecimalField(decimal_places=10, default=Decimal('0'), max_digits=20)),
                ('assumed_cost', models.DecimalField(decimal_places=10, default=Decimal('0'), max_digits=20)),
                ('last_started_at', models.DateTimeField()),
                ('requests', models.PositiveIntegerField(default=0)),
                ('streams', models.PositiveIntegerField(default=0)),
                ('completed', models.PositiveIntegerField(default=0)),
                ('api_error', models.PositiveIntegerField(default=0)),
                ('refused', models.PositiveIntegerField(default=0)),
                ('upstream_failed', models.PositiveIntegerField(default=0)),
                ('broken', models.PositiveIntegerField(default=0)),
                ('cancelled', models.PositiveIntegerField(default=0)),
                ('failed', models.PositiveIntegerField(default=0)),
                ('interrupted', models.PositiveIntegerField(default=0)),
                ('status_2xx', models.PositiveIntegerField(default=0)),
                ('status_3xx', models.PositiveIntegerField(default=0)),
                ('status_4xx', models.PositiveIntegerField(default=0)),
                ('status_429', models.PositiveIntegerField(default=0)),
                ('status_5xx', models.PositiveIntegerField(default=0)),
                ('status_none', models.PositiveIntegerField(default=0)),
                ('unpriced', models.PositiveIntegerField(default=0)),
                ('estimated', models.PositiveIntegerField(default=0)),
                ('latency_50', models.PositiveIntegerField(default=0)),
                ('latency_100', models.PositiveIntegerField(default=0)),
                ('latency_200', models.PositiveIntegerField(default=0)),
                ('latency_400', models.PositiveIntegerField(default=0)),
                ('latency_700', models.PositiveIntegerField(default=0)),
                ('latency_1000', models.PositiveIntegerField(default=0)),
                ('latency_2000', models.PositiveIntegerField(default=0)),
                ('latency_4000', models.PositiveIntegerField(default=0)),
                ('latency_7000', models.PositiveIntegerField(default=0)),
                ('latency_15000', models.PositiveIntegerField(default=0)),
                ('latency_30000', models.PositiveIntegerField(default=0)),
                ('latency_60000', models.PositiveIntegerField(default=0)),
                ('latency_180000', models.PositiveIntegerField(default=0)),
                ('latency_600000', models.PositiveIntegerField(default=0)),
                ('latency_more', models.PositiveIntegerField(default=0)),
                ('first_byte_50', models.PositiveIntegerField(default=0)),
                ('first_byte_100', models.PositiveIntegerField(default=0)),
                ('first_byte_200', models.PositiveIntegerField(default=0)),
                ('first_byte_400', models.PositiveIntegerField(default=0)),
                ('first_byte_700', models.PositiveIntegerField(default=0)),
                ('first_byte_1000', models.PositiveIntegerField(default=0)),
                ('first_byte_2000', models.PositiveIntegerField(default=0)),
                ('first_byte_4000', models.PositiveIntegerField(default=0)),
                ('first_byte_7000', models.PositiveIntegerField(default=0)),
                ('first_byte_15000', models.PositiveIntegerField(default=0)),
                ('first_byte_30000', models.PositiveIntegerField(default=0)),
                ('first_byte_60000', models.PositiveIntegerField(default=0)),
                ('first_byte_180000', models.PositiveIntegerField(default=0)),
                ('first_byte_600000', models.PositiveIntegerField(default=0)),
                ('first_byte_more', models.PositiveIntegerField(default=0)),
                ('attempts', models.PositiveBigIntegerField(default=0)),
                ('input_tokens', models.PositiveBigIntegerField(default=0)),
                ('output_tokens', models.PositiveBigIntegerField(default=0)),
                ('cache_read_tokens', models.PositiveBigIntegerField(default=0)),
                ('cache_write_5m_tokens', models.PositiveBigIntegerField(default=0)),
                ('cache_write_1h_tokens', models.PositiveBigIntegerField(default=0)),
                ('web_search_requests', models.PositiveBigIntegerField(default=0)),
                ('web_fetch_requests', models.PositiveBigIntegerField(default=0)),
                ('code_execution_requests', models.PositiveBigIntegerField(default=0)),
                ('tool_calls', models.PositiveBigIntegerField(default=0)),
                ('request_bytes', models.PositiveBigIntegerField(default=0)),
                ('response_bytes', models.PositiveBigIntegerField(default=0)),
                ('overhead_us', models.PositiveBigIntegerField(default=0)),
                ('client_key', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='accounts.clientkey')),
                ('credential', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='accounts.credential')),
                ('domain', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='accounts.domain')),
            ],
            options={
                'verbose_name': 'day',
                'db_table': 'telemetry_day',
                'ordering': ['-hour'],
                'indexes': [models.Index(fields=['hour'], name='day_hour'), models.Index(fields=['domain', 'hour'], name='day_domain')],
            },
        ),
        migrations.RunPython(sum_days, migrations.RunPython.noop),
    ]
