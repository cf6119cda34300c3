from django.db import migrations


def make_groups(apps, schema_editor):
    """Empty ones: what they may do is given after the migrations, when all permissions are there (accounts.groups)."""
    groups = apps.get_model('auth', 'Group').objects.using(schema_editor.connection.alias)
    for name in ('viewer', 'operator', 'admin'):
        groups.get_or_create(name=name)


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0004_credentials'),
        ('auth', '0012_alter_user_first_name_max_length'),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='domain',
            options={'ordering': ['host'], 'permissions': [('all_domains', 'Sees all domains, and what belongs to none')]},
        ),
        migrations.RunPython(make_groups, migrations.RunPython.noop),
    ]
