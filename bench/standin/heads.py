"""Response headers as api.anthropic.com sends them (facts/claude-api.md 3)."""

import hashlib
import uuid
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from time import time

from bench.asgi import Headers

LIMITS = {"requests": 4_000, "tokens": 2_400_000, "input-tokens": 2_000_000, "output-tokens": 400_000}


def common(request_id: str) -> Headers:
    ray = hashlib.sha256(request_id.encode()).hexdigest()[:16]
    return encode(
        {
            "date": format_datetime(datetime.now(UTC), usegmt=True),
            "server": "cloudflare",
            "cf-ray": f"{ray}-FRA",
            "cf-cache-status": "DYNAMIC",
            "x-robots-tag": "none",
            "strict-transport-security": "max-age=31536000; includeSubDomains; preload",
            "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
            "x-envoy-upstream-service-time": "42",
            "request-id": request_id,
        }
    )


def of_organization(organization: str) -> Headers:
    """Absent where authentication failed."""
    workspace = hashlib.sha256(organization.encode()).hexdigest()[:24]
    return encode(
        {
            "anthropic-organization-id": organization,
            "anthropic-workspace-id": f"wrkspc_01{workspace}",
        }
    )


def rate_limits(*, bearer: bool, exhausted: bool) -> Headers:
    """What is left; a subscription's token hears about its windows instead. A 429 has both."""
    headers = {} if bearer else _limits(exhausted)
    if bearer or exhausted:
        headers |= _unified(exhausted)
    return encode(headers)


def _limits(exhausted: bool) -> dict[str, str]:
    reset = (datetime.now(UTC) + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    headers: dict[str, str] = {}
    for name, limit in LIMITS.items():
        prefix = f"anthropic-ratelimit-{name}"
        remaining = 0 if exhausted else limit - 1 if name == "requests" else limit
        headers |= {f"{prefix}-limit": f"{limit}", f"{prefix}-remaining": f"{remaining}", f"{prefix}-reset": reset}
    return headers


def _unified(exhausted: bool) -> dict[str, str]:
    prefix = "anthropic-ratelimit-unified"
    status = "rejected" if exhausted else "allowed"
    now = int(time())
    return {
        f"{prefix}-status": status,
        f"{prefix}-reset": f"{now + 18_000}",
        f"{prefix}-representative-claim": "five_hour",
        f"{prefix}-fallback-percentage": "0.5",
        f"{prefix}-5h-status": status,
        f"{prefix}-5h-reset": f"{now + 18_000}",
        f"{prefix}-5h-utilization": "1.0" if exhausted else "0.12",
        f"{prefix}-7d-status": "allowed",
        f"{prefix}-7d-reset": f"{now + 604_800}",
        f"{prefix}-7d-utilization": "0.31",
        f"{prefix}-overage-status": "rejected",
        f"{prefix}-overage-disabled-reason": "org_level_disabled",
    }


def organization_id(credential: str) -> str:
    """One credential, one organization."""
    return str(uuid.UUID(bytes=hashlib.sha256(credential.encode()).digest()[:16]))


def encode(headers: dict[str, str]) -> Headers:
    return [(name.encode(), value.encode()) for name, value in headers.items()]
