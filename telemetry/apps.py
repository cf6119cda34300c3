from django.apps import AppConfig


class TelemetryConfig(AppConfig):
    name = "telemetry"
    verbose_name = "Record"

    def ready(self) -> None:
        from telemetry.money import news

        news.connect()
