import django.db.models.deletion
from datetime import timedelta
from decimal import Decimal
from django.db import migrations, models

from accounts.ids import first_id_at, moment_of, new_id
from telemetry.money.marks import Hour, id_of, start_of_hour


def mark_all(apps, schema_editor):
    """What is on record already is summed afterwards, in the background. Leaps through the index of domains and ids from
    hour to hour: one look-up for each."""
    exchanges, marks = apps.get_model("telemetry", "ExchangeRow").objects, apps.get_model("telemetry", "HourMark").objects
    for domain_id in (None, *_domain_ids(exchanges)):
        ids = exchanges.filter(domain_id=domain_id).order_by("id").values_list("id", flat=True)
        exchange_id = ids.first()
        while exchange_id is not None:
            hour = Hour(start_of_hour(moment_of(exchange_id)), domain_id)
            of = {"state_id": hour.id, "hour": hour.start, "domain_id": domain_id}
            marks.create(id=id_of(hour, "migration 0006"), stamp=new_id(), **of)
            exchange_id = ids.filter(id__gte=first_id_at(hour.start + timedelta(hours=1))).first()


def _domain_ids(exchanges):
    ids = exchanges.filter(domain_id__isnull=False).order_by("domain_id").values_list("domain_id", flat=True)
    domain_id = ids.first()
    while domain_id is not None:
        yield domain_id
        domain_id = ids.filter(domain_id__gt=domain_id).first()


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0002_storage_and_retention'),
        ('telemetry', '0005_batches'),
    ]

    operations = [
        migrations.CreateModel(
            name='HourMark',
            fields=[
                ('id', models.UUIDField(primary_key=True, serialize=False)),
                ('state_id', models.UUIDField(db_index=True)),
                ('hour', models.DateTimeField()),
                ('stamp', models.UUIDField()),
                ('domain', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='accounts.domain')),
            ],
            options={
                'db_table': 'telemetry_hour_mark',
            },
        ),
        migrations.CreateModel(
            name='HourState',
            fields=[
                ('id', models.UUIDField(primary_key=True, serialize=False)),
                ('hour', models.DateTimeField()),
                ('stamp', models.UUIDField()),
                ('due_at', models.DateTimeField()),
                ('is_final', models.BooleanField(default=False)),
                ('domain', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='accounts.domain')),
            ],
            options={
                'db_table': 'telemetry_hour_state',
            },
        ),
        migrations.CreateModel(
            name='HourRow',
            fields=[
                ('id', models.UUIDField(primary_key=True, serialize=False)),
                ('hour', models.DateTimeField()),
                ('model', models.CharField(max_length=200)),
                ('kind', models.CharField(choices=[('inference', 'Inference'), ('query_evaluation', 'Query Evaluation'), ('quota', 'Quota'), ('count_tokens', 'Count Tokens'), ('other', 'Other'), ('batch', 'Batch')], max_length=20)),
                ('cost', models.DecimalField(decimal_places=10, default=Decimal('0'), max_digits=20)),
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
                ('client_key', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='hours', to='accounts.clientkey')),
                ('credential', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='hours', to='accounts.credential')),
                ('domain', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='hours', to='accounts.domain')),
            ],
            options={
                'verbose_name': 'hour',
                'db_table': 'telemetry_hour',
                'ordering': ['-hour'],
                'indexes': [models.Index(fields=['hour'], name='hour_hour'), models.Index(fields=['domain', 'hour'], name='hour_domain')],
            },
        ),
        migrations.RunPython(mark_all, migrations.RunPython.noop),
    ]
