"""With a bot token the message that opened an incident is edited: whoever reads up the channel sees how it stands.

The steps themselves are told as replies in its thread (`telemetry.notices.sending`). To edit is harmless twice, so it
is done until Slack has answered.
"""

from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import F

from telemetry.conf import NoticesConf
from telemetry.models import Delivery, Incident, Target
from telemetry.models.notices import SLACK, State
from telemetry.notices.answer import Result
from telemetry.notices.places import TIMEOUT_SECONDS
from telemetry.notices.routes import Routes
from telemetry.notices.slack import Look, SlackChannel
from telemetry.notices.wording import notice_of

EDITS_MAX = 10
"""Of one run: Slack takes about fifty a minute."""
LATELY = timedelta(days=1)
"""What could not be shown for so long stays as it is."""


def show_states(now: datetime) -> int:
    """How many messages were brought up to date."""
    conf: NoticesConf = settings.NOTICES
    if not (conf.is_on and conf.slack.bot_token):
        return 0
    behind = Incident.objects.filter(step__gt=F("shown_step"), updated_at__gte=now - LATELY).order_by("updated_at")
    told = [(incident, opening) for incident in behind if (opening := _opening(incident))]
    routes = Routes.load()
    return sum(_show(incident, opening, routes, conf) for incident, opening in told[:EDITS_MAX])


def _opening(incident: Incident) -> Delivery | None:
    """None where it has not arrived, or cannot be edited."""
    told = Delivery.objects.filter(thread=incident.id, sink=SLACK, state=State.DELIVERED)
    return told.exclude(message_ts="").exclude(message_channel="").order_by("position").first()


def _show(incident: Incident, opening: Delivery, routes: Routes, conf: NoticesConf) -> bool:
    route = routes.slack(incident.domain_id).route
    if route is None or not route.token or _is_failing(opening.target):
        return False
    before = incident.shown_step
    # Claimed by changing it. Of two steps in one second the later may be shown first: the next step mends that.
    if not Incident.objects.filter(id=incident.id, shown_step=before).update(shown_step=incident.step):
        return False
    channel = SlackChannel(conf.slack.api_url, route.token, Look(), TIMEOUT_SECONDS)
    step = incident.steps.get(number=incident.step)
    answer = channel.edit(notice_of(incident, step), opening.message_channel, opening.message_ts)
    if answer.result in (Result.LATER, Result.UNKNOWN):
        Incident.objects.filter(id=incident.id, shown_step=incident.step).update(shown_step=before)
    return answer.result is Result.ARRIVED


def _is_failing(target_id: str) -> bool:
    return Target.objects.filter(id=target_id, failing_since__isnull=False).exists()
