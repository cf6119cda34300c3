"""What an error page of DEBUG hides beyond Django's own list: addresses that may hold a password."""

import re

from django.views.debug import SafeExceptionReporterFilter


class ReporterFilter(SafeExceptionReporterFilter):
    hidden_settings = re.compile(
        SafeExceptionReporterFilter.hidden_settings.pattern + "|URL|LOCATION|HOSTS|DSN|UPSTREAM|DATABASES", re.I
    )
