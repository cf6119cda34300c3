"""All rules, an idea each in a file of its own."""

from telemetry.notices.rules import (
    breaker_open,
    budget_forecast,
    budget_threshold,
    client_key_expiring,
    credential_expiring,
    credential_invalid,
    credential_limited,
    credential_refused,
    credential_rolled_back,
    delivery_failing,
    error_rate,
    ledger_gap,
    process_silent,
    spool_filling,
    token_refresh_failing,
    unpriced_model,
    upstream_unreachable,
)
from telemetry.notices.rules.rule import WatchedRule

RULES: tuple[WatchedRule, ...] = (
    upstream_unreachable.RULE,
    error_rate.RULE,
    credential_invalid.RULE,
    credential_rolled_back.RULE,
    breaker_open.RULE,
    credential_refused.RULE,
    credential_limited.RULE,
    credential_expiring.RULE,
    token_refresh_failing.RULE,
    client_key_expiring.RULE,
    unpriced_model.RULE,
    ledger_gap.RULE,
    process_silent.RULE,
    spool_filling.RULE,
    delivery_failing.RULE,
    budget_threshold.RULE,
    budget_forecast.RULE,
)
