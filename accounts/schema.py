"""Whether the database is that of this version."""

from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader


def missing_migrations(database: BaseDatabaseWrapper | None = None) -> list[str]:
    """Of this version, those that were not applied. Raises OperationalError while the database is away."""
    executor = MigrationExecutor(database or connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]


def unknown_migrations(database: BaseDatabaseWrapper) -> list[str]:
    """Those that were applied, by another version."""
    loader = MigrationLoader(database)
    return sorted(f"{app}.{name}" for app, name in set(loader.applied_migrations) - set(loader.disk_migrations))
