"""What this process counts and measures for Prometheus. What is asked of the database is in `dashboard.collectors`."""
