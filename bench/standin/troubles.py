"""Answers that are scripted trouble: an API error, a load balancer's page, a redirect."""

from bench.standin.errors import ApiError
from bench.standin.heads import encode
from bench.standin.replies import Reply, error_reply
from bench.standin.script import Script

HTML = b"""<html>
<head><title>502 Bad Gateway</title></head>
<body><center><h1>502 Bad Gateway</h1></center></body>
</html>
"""


def scripted(script: Script, request_id: str, *, redirected: bool) -> Reply | None:
    if script.html:
        headers = {"server": "awselb/2.0", "content-type": "text/html", "content-length": str(len(HTML))}
        return Reply(502, encode(headers), HTML, foreign=True)
    if script.redirect and not redirected:
        return Reply(307, encode({"location": "/v1/messages?redirected=1", "content-length": "0"}), b"")
    if script.status is not None:
        return error(ApiError(script.status), request_id, script)
    return None


def error(problem: ApiError, request_id: str, script: Script | None = None) -> Reply:
    script = script or Script()
    headers = {}
    if problem.status == 429 or script.retry_after:
        headers["retry-after"] = script.retry_after or "1"
    if script.retry_after_ms:
        headers["retry-after-ms"] = script.retry_after_ms
    # Seen on these two only (facts/claude-api.md 3.6).
    if problem.status in (400, 429):
        headers["x-should-retry"] = "true" if problem.status == 429 else "false"
    return error_reply(problem.status, problem.envelope(request_id), **headers)
