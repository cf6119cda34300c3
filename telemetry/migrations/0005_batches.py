import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0002_storage_and_retention"),
        ("telemetry", "0004_money"),
    ]

    operations = [
        migrations.CreateModel(
            name='BatchRow',
            fields=[
                ('id', models.CharField(max_length=100, primary_key=True, serialize=False)),
                ('created_by', models.UUIDField(null=True)),
                ('created_at', models.DateTimeField()),
                ('credential_source', models.CharField(max_length=16)),
                ('booked_id', models.UUIDField(null=True)),
                ('booked_at', models.DateTimeField(null=True)),
                ('succeeded', models.PositiveIntegerField(default=0)),
                ('errored', models.PositiveIntegerField(default=0)),
                ('canceled', models.PositiveIntegerField(default=0)),
                ('expired', models.PositiveIntegerField(default=0)),
                ('unreadable', models.PositiveIntegerField(default=0)),
                ('client_key', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='batches', to='accounts.clientkey')),
                ('credential', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='batches', to='accounts.credential')),
                ('domain', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='batches', to='accounts.domain')),
            ],
            options={
                'verbose_name': 'message batch',
                'verbose_name_plural': 'message batches',
                'db_table': 'telemetry_batch',
                'ordering': ['-created_at'],
            },
        ),
        migrations.CreateModel(
            name='BatchUsageRow',
            fields=[
                ('id', models.UUIDField(primary_key=True, serialize=False)),
                ('booked_id', models.UUIDField()),
                ('model', models.CharField(max_length=200)),
                ('input_tokens', models.PositiveBigIntegerField()),
                ('output_tokens', models.PositiveBigIntegerField()),
                ('cache_read_tokens', models.PositiveBigIntegerField()),
                ('cache_write_5m_tokens', models.PositiveBigIntegerField()),
                ('cache_write_1h_tokens', models.PositiveBigIntegerField()),
                ('web_search_requests', models.PositiveBigIntegerField()),
                ('charges', models.TextField()),
                ('pricing', models.CharField(choices=[('free', 'Free'), ('priced', 'Priced'), ('unpriced', 'Unpriced')], max_length=10)),
                ('cost', models.DecimalField(decimal_places=10, max_digits=20, null=True)),
                ('price_ids', models.TextField(default='')),
                ('batch', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='usage', to='telemetry.batchrow')),
                ('client_key', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='batch_usage', to='accounts.clientkey')),
                ('credential', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='batch_usage', to='accounts.credential')),
                ('domain', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='batch_usage', to='accounts.domain')),
            ],
            options={
                'verbose_name': 'usage of a batch',
                'verbose_name_plural': 'usage of batches',
                'db_table': 'telemetry_batch_usage',
                'ordering': ['batch', 'model'],
            },
        ),
        migrations.AddIndex(
            model_name='batchrow',
            index=models.Index(fields=['created_at'], name='batch_created'),
        ),
        migrations.AddIndex(
            model_name='batchusagerow',
            index=models.Index(fields=['booked_id'], name='batch_usage_booked'),
        ),
        migrations.AddIndex(
            model_name='batchusagerow',
            index=models.Index(fields=['domain', 'booked_id'], name='batch_usage_domain'),
        ),
        migrations.AddConstraint(
            model_name='batchusagerow',
            constraint=models.UniqueConstraint(fields=('batch', 'model'), name='batch_usage_once'),
        ),
    ]
