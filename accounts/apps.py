from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "accounts"
    verbose_name = "Register"

    def ready(self) -> None:
        from accounts import groups, news

        news.connect()
        groups.connect()
