"""GET /dashboard/system: processes, the queue and its tasks, and the ledger by process; for who sees all domains."""

from typing import Any

from django.http import HttpRequest, HttpResponseBase

from accounts.access import Viewer
from dashboard import system
from dashboard.ledger import proof
from dashboard.pages.door import forbidden, shared_page
from dashboard.pages.sheet import sheet
from dashboard.pages.tables import Column, Share, State, Table

PROCESS_COLUMNS = (
    Column("Process"),
    Column("State", "state"),
    Column("Version"),
    Column("Started", "ago"),
    Column("In flight", "count"),
    Column("Spooled", "count"),
    Column("Spool full", "share"),
    Column("Event-loop lag", "ms"),
    Column("Memory", "size"),
    Column("Lost", "count"),
)
TASK_COLUMNS = (
    Column("Task"),
    Column("Schedule"),
    Column("State", "state"),
    Column("Last success", "ago"),
    Column("Took", "ms"),
    Column("Waited", "ms"),
    Column("Failures", "count"),
    Column("Last error"),
    Column("Worker"),
)
COUNTS = ("accepted", "stored", "in_flight", "spooled", "gap")
LEDGER_COLUMNS = (
    Column("Process"),
    Column("Seen", "ago"),
    *(Column(name.replace("_", " "), "count") for name in COUNTS),
)
ENDED_WELL = frozenset({"success", "succeeded"})


@shared_page
def view(request: HttpRequest, viewer: Viewer) -> HttpResponseBase:
    if viewer.domain_ids is not None:
        return forbidden(request, "The system carries the requests of all domains: you see some.")
    found, ledger = system.state(), proof()
    tables = [
        Table("processes", "Processes", PROCESS_COLUMNS, [_process(each) for each in found["processes"]], "None runs."),
        Table(
            "ledger",
            "Ledger",
            LEDGER_COLUMNS,
            [_entry(each) for each in ledger["processes"]],
            "Nothing was accepted yet.",
        ),
        Table("tasks", "Tasks", TASK_COLUMNS, [_task(each) for each in found["tasks"]], "None is scheduled."),
    ]
    return sheet(request, viewer, "system", None, [], tables, template="system", found=found, ledger=ledger["cluster"])


def _process(each: dict[str, Any]) -> list[Any]:
    said = each["vitals"]
    name = f"{each['node']} {str(each['process'])[-6:]}"
    if said is None:
        return [name, State("silent", "warn"), "", each["started_at"], None, None, Share(None), None, None, None]
    lag, full = said["loop_lag_max_seconds"] * 1000, said["spooled_bytes"] / max(said["spool_limit_bytes"], 1)
    of_spool = [said["in_flight"], said["spooled"], Share(full)]
    return [
        name,
        State("serves", "ok"),
        said["version"],
        each["started_at"],
        *of_spool,
        lag,
        said["memory_bytes"],
        said["lost"],
    ]


def _entry(each: dict[str, Any]) -> list[Any]:
    return [f"{each['node']} {str(each['process'])[-6:]}", each["seen_at"], *(each[name] for name in COUNTS)]


def _task(each: dict[str, Any]) -> list[Any]:
    state = each["state"]
    tone = "" if state is None else "bad" if each.get("error_type") and state not in ENDED_WELL else "ok"
    return [
        each["name"],
        _schedule(each["schedule"]),
        State(state or "has not run", tone),
        each.get("succeeded_at"),
        _ms(each.get("duration_seconds")),
        _ms(each.get("queue_wait_seconds")),
        each.get("failures"),
        each.get("error_type") or "",
        each.get("worker") or "",
    ]


def _schedule(text: str) -> str:
    """Seconds, or what a crontab calls itself."""
    try:
        return f"every {float(text):g} s"
    except ValueError:
        return text.strip("<>").removesuffix(" (m/h/dM/MY/d)")


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000
