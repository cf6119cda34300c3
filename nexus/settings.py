"""Django's settings. Environments differ by variables only; every variable is read through `nexus.env`."""

import shlex
import sys
from pathlib import Path
from typing import Any

import environ
from celery.schedules import crontab
from django.core.exceptions import ImproperlyConfigured

from accounts.oauth.conf import OAuthConf
from accounts.secret import hide
from nexus import console, csp, env, keyfile, logs, safety, schedule
from proxy.conf import IntakeConf, RetryConf, UpstreamConf, WaitConf
from telemetry.conf import NoticesConf, RecordConf, SlackConf, SpoolConf
from telemetry.credentials.conf import CircuitConf, CoolingConf
from telemetry.exports.conf import ExportConf
from telemetry.limits.conf import DefaultLimit, LimitsConf
from telemetry.traces.conf import TraceConf, header_pairs, sampling

BASE_DIR = Path(__file__).resolve().parent.parent

# --- The process -------------------------------------------------------------------------------------------
DEBUG = env.boolean("DEBUG", False, help="A laptop: keys are made on the first run, errors are shown in full")
NEXUS_DATA = BASE_DIR / env.text("NEXUS_DATA", "data", help="Folder of the spool, SQLite's database and the key file")
LOG_LEVEL = env.text("LOG_LEVEL", "info", help="debug, info, warning or error").upper()
if LOG_LEVEL not in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"):
    raise ImproperlyConfigured(f"LOG_LEVEL={LOG_LEVEL!r}: use debug, info, warning or error.")
HOST = env.text("HOST", "127.0.0.1", help="Address that `nexus serve` listens on")
PORT = env.integer("PORT", 8000, help="Port that `nexus serve` listens on")
NEXUS_DRAIN_SECONDS = env.seconds("NEXUS_DRAIN_SECONDS", 30, help="How long a stop waits for running exchanges")
NEXUS_DRAIN_NOTICE_SECONDS = env.integer(
    "NEXUS_DRAIN_NOTICE_SECONDS",
    0,
    help="How long a process that was told to stop is not ready, but still takes new connections, in seconds: for load "
    "balancers that ask /readyz",
)
REDIS_URL = env.url("REDIS_URL", "", help="Redis that several processes share", schemes=("redis", "rediss"))
TRUSTED_PEERS = env.networks(
    "TRUSTED_PEERS", help="Networks (CIDR) whose x-nexus-request-id is kept and logged as the correlation id"
)
TRUSTED_PROXIES = env.networks(
    "TRUSTED_PROXIES", help="Networks (CIDR) of the proxies in front, whose x-forwarded-for and x-forwarded-proto count"
)
FORWARD_REQUEST_ID = env.boolean(
    "FORWARD_REQUEST_ID", False, help="Send each exchange's id to the API as x-nexus-request-id"
)
NEXUS_DATA.mkdir(parents=True, exist_ok=True, mode=0o700)

# --- Secrets -----------------------------------------------------------------------------------------------
SECRET_KEY = env.secret("NEXUS_SECRET_KEY", help="Signs the console's sessions")
NEXUS_ENCRYPTION_KEYS = env.secret(
    "NEXUS_ENCRYPTION_KEYS", help="Fernet keys for credentials, separated by commas; the first one encrypts"
)
if DEBUG and not (SECRET_KEY and NEXUS_ENCRYPTION_KEYS):
    _keys = keyfile.ensure(NEXUS_DATA)
    hide(_keys["secret_key"], _keys["encryption_keys"])
    SECRET_KEY = SECRET_KEY or _keys["secret_key"]
    NEXUS_ENCRYPTION_KEYS = NEXUS_ENCRYPTION_KEYS or _keys["encryption_keys"]
ALLOW_UNREADABLE_SECRETS = env.boolean(
    "ALLOW_UNREADABLE_SECRETS", False, help="Start although stored secrets cannot be read, and leave those out"
)
DASHBOARD_API_KEY = env.secret("DASHBOARD_API_KEY", help="Opens the query API for scripts; none: sessions only")
DASHBOARD_RATE = env.rate(
    "DASHBOARD_RATE", "600/m", help="Requests to the query API by one key or person, such as 600/m; none: no limit"
)
CLIENT_SETUP = NEXUS_DATA / env.text(
    "CLIENT_SETUP_DIR", "client-setup", help="Folder of files that anybody may fetch from /client-setup/"
)
METRICS_TOKEN = env.secret("METRICS_TOKEN", help="Bearer token that opens /metrics for scrapers; none: they need a key")
for _name, _value in (("NEXUS_ENCRYPTION_KEYS", NEXUS_ENCRYPTION_KEYS), ("NEXUS_SECRET_KEY", SECRET_KEY)):
    if not _value:
        raise ImproperlyConfigured(
            f"{_name} is not set, and Nexus does not invent secrets outside DEBUG=true. "
            f"Make one with `nexus generate-secret {_name}` and keep it safe."
        )

# --- The Claude API and its clients ------------------------------------------------------------------------
UPSTREAM = UpstreamConf(
    base_url=env.url("CLAUDE_API_BASE_URL", "https://api.anthropic.com", help="The Claude API").rstrip("/"),
    default_api_key=env.secret("CLAUDE_API_KEY", help="Used where a domain has no credential of its own"),
    connect_seconds=env.seconds("UPSTREAM_CONNECT_SECONDS", 10, help="Limit for connecting to the API"),
    first_byte_seconds=env.milliseconds("CLAUDE_API_TIMEOUT", 600_000, help="Limit for the first byte of an answer"),
    idle_seconds=env.seconds("UPSTREAM_IDLE_SECONDS", 300, help="Limit for a silence within an answer"),
)
OAUTH = OAuthConf(
    token_url=env.url(
        "CLAUDE_OAUTH_TOKEN_URL",
        "",
        help="Token endpoint of OAuth and federation; none: /v1/oauth/token of CLAUDE_API_BASE_URL",
    )
    or f"{UPSTREAM.base_url}/v1/oauth/token",
    authorize_url=env.url("CLAUDE_OAUTH_AUTHORIZE_URL", "", help="Where people sign in; none: nobody can"),
    client_id=env.text("CLAUDE_OAUTH_CLIENT_ID", help="The OAuth client that you have registered; there is no default"),
    client_secret=env.secret("CLAUDE_OAUTH_CLIENT_SECRET", help="Its secret, where it has one"),
    scopes=env.names("CLAUDE_OAUTH_SCOPES", help="What sign-in asks for"),
    redirect_url=env.url(
        "CLAUDE_OAUTH_REDIRECT_URL",
        "",
        help="The admin's page to come back to, as registered; none: as the browser calls the admin",
    ),
    token_format=env.text("CLAUDE_OAUTH_TOKEN_FORMAT", "json", help="How the token endpoint is asked: json or form"),
    federation_dirs=tuple(
        Path(folder)
        for folder in env.names(
            "FEDERATION_DIRS", ("/var/run/secrets",), help="Folders in which the platform puts identity tokens"
        )
    ),
    federation_command=tuple(
        shlex.split(env.text("FEDERATION_COMMAND", help="Command that prints an identity token, run without a shell"))
    ),
)
CREDENTIALS_DIR = env.text(
    "CREDENTIALS_DIR", help="Folder of the original's credential files, imported when `nexus serve` starts"
)
RETRIES = RetryConf(
    max_attempts=env.integer("RETRY_MAX_ATTEMPTS", 3, help="Calls with one credential; 1: no retries", minimum=1),
    wait_seconds=env.milliseconds("RETRY_WAIT_MS", 1000, help="Before the second; twice as long before each next one"),
    max_wait_seconds=env.milliseconds("RETRY_MAX_WAIT_MS", 30_000, help="Longest of these waits"),
    budget_seconds=env.milliseconds("RETRY_BUDGET_MS", 60_000, help="After that a request makes no new call"),
    max_credentials=env.integer("RETRY_MAX_CREDENTIALS", 5, help="Of a domain's, for one request", minimum=1),
)
CIRCUIT_BREAKER = CircuitConf(
    failure_threshold=env.integer(
        "CIRCUIT_BREAKER_FAILURE_THRESHOLD", 5, help="Failures in a row that open a credential's circuit", minimum=1
    ),
    volume_threshold=env.integer(
        "CIRCUIT_BREAKER_VOLUME_THRESHOLD", 10, help="Calls in a minute from which on a share opens it", minimum=1
    ),
    error_percentage=env.integer(
        "CIRCUIT_BREAKER_ERROR_PERCENTAGE", 50, help="That share of failures, in percent", minimum=1
    ),
    open_seconds=env.milliseconds("CIRCUIT_BREAKER_TIMEOUT", 30_000, help="How long it stays open before it is tried"),
    success_threshold=env.integer("CIRCUIT_BREAKER_SUCCESS_THRESHOLD", 3, help="Successes that close it", minimum=1),
)
COOLING = CoolingConf(
    max_seconds=env.seconds(
        "COOLING_MAX_SECONDS", 3600, help="After this long a limit of the API is tried again, whatever the API said"
    ),
    unsaid_seconds=env.seconds("COOLING_UNSAID_SECONDS", 10, help="Where the API did not say, to begin with"),
)
INTAKE = IntakeConf(
    messages_max_bytes=env.integer(
        "MAX_REQUEST_SIZE", 32_000_000, help="Largest body of a messages request, in bytes", minimum=1
    ),
    head_seconds=env.seconds("HEAD_SECONDS", 30, help="How long a client may take for the head of its request"),
    body_idle_seconds=env.seconds("BODY_IDLE_SECONDS", 30, help="Limit for a pause in a client's body"),
    capture_max_bytes=env.integer(
        "CAPTURE_MAX_BYTES", 32_000_000, help="How much of one answer is kept for the record, in bytes"
    ),
    client_stall_seconds=env.seconds(
        "CLIENT_STALL_SECONDS", 300, help="How long a client may take nothing of its answer"
    ),
    cors_origins=frozenset(
        env.names("CORS_ALLOWED_ORIGINS", help="Origins whose pages may call /v1; * for any; none: CORS is off")
    ),
)

# --- Limits ------------------------------------------------------------------------------------------------
_SAYS_NOTHING = "that has no limit of its own in the admin; 0: not limited"
LIMITS = LimitsConf(
    client_key=DefaultLimit(
        window_ms=env.integer("RATE_LIMIT_WINDOW_MS", 3_600_000, help="Window of the next two, in milliseconds"),
        max_requests=env.integer(
            "RATE_LIMIT_MAX_REQUESTS", 1000, help=f"Requests in a window of a client key {_SAYS_NOTHING}"
        ),
        max_tokens=env.integer(
            "RATE_LIMIT_MAX_TOKENS", 1_000_000, help=f"Tokens in a window of a client key {_SAYS_NOTHING}"
        ),
    ),
    domain=DefaultLimit(
        window_ms=env.integer("DOMAIN_RATE_LIMIT_WINDOW_MS", 3_600_000, help="Window of the next two, in milliseconds"),
        max_requests=env.integer(
            "DOMAIN_RATE_LIMIT_MAX_REQUESTS", 5000, help=f"Requests in a window of a domain {_SAYS_NOTHING}"
        ),
        max_tokens=env.integer(
            "DOMAIN_RATE_LIMIT_MAX_TOKENS", 5_000_000, help=f"Tokens in a window of a domain {_SAYS_NOTHING}"
        ),
    ),
)
WAITING = WaitConf(
    max_waiting=env.integer(
        "LIMIT_QUEUE_MAX_WAITING",
        1000,
        help="Requests of a process that may wait for room in a limit; more are refused",
    ),
    keepalive_after_seconds=env.seconds(
        "LIMIT_QUEUE_KEEPALIVE_AFTER", 10, help="How long a stream that waits is silent before comments keep it alive"
    ),
    keepalive_seconds=env.seconds("LIMIT_QUEUE_KEEPALIVE_EVERY", 10, help="Between two such comments"),
)

# --- The record --------------------------------------------------------------------------------------------
RECORD = RecordConf(
    spool=SpoolConf(
        root=NEXUS_DATA / "spool",
        max_bytes=env.integer(
            "NEXUS_SPOOL_MAX_BYTES",
            2_000_000_000,
            help="How much of a process's exchanges may wait for the database, in bytes; beyond it bodies are dropped",
        ),
    ),
    store_bodies=env.boolean("STORAGE_ENABLED", True, help="Keep bodies; false keeps the figures only"),
    batch_size=env.integer("STORAGE_BATCH_SIZE", 500, help="Exchanges per write", minimum=1),
    batch_seconds=env.milliseconds("STORAGE_BATCH_INTERVAL", 250, help="Longest wait before a write"),
    retain_bodies_days=env.integer(
        "RETENTION_BODIES_DAYS", 90, help="Days until bodies are deleted where a domain does not say; 0: never"
    ),
    retain_rows_days=env.integer(
        "RETENTION_ROWS_DAYS", 730, help="Days until exchanges are deleted where a domain does not say; 0: never"
    ),
)

_endpoint = env.url("TELEMETRY_ENDPOINT", "", help="Where each exchange's figures are sent as JSON; none: nowhere")
_is_exporting = env.boolean("TELEMETRY_ENABLED", True, help="Send figures to TELEMETRY_ENDPOINT")
EXPORT = ExportConf(
    endpoint=_endpoint if _is_exporting else "",
    batch_size=env.integer(
        "TELEMETRY_BATCH_SIZE", 100, help="Exchanges per request to it; 1: single objects, not arrays", minimum=1
    ),
    max_waiting=env.integer(
        "TELEMETRY_MAX_WAITING", 100_000, help="Exchanges that wait for it at most; beyond it the oldest are given up"
    ),
)

_ratio, _follows_parent = sampling(
    env.text("OTEL_TRACES_SAMPLER", "parentbased_always_on", help="Which traces are exported"),
    env.text("OTEL_TRACES_SAMPLER_ARG", help="The share of them, 0 to 1, for the samplers traceidratio"),
)
TRACES = TraceConf(
    endpoint=env.url("OTEL_EXPORTER_OTLP_ENDPOINT", "", help="A collector for traces, OTLP over http; none: no traces"),
    headers=header_pairs(env.secret("OTEL_EXPORTER_OTLP_HEADERS", help="Headers for it: name=value, comma separated")),
    service_name=env.text("OTEL_SERVICE_NAME", "nexus", help="What traces call this installation"),
    ratio=_ratio,
    follows_parent=_follows_parent,
    forwards=env.boolean("OTEL_FORWARD_TRACEPARENT", False, help="Send a traceparent to the API too"),
)
# --- What people are told ------------------------------------------------------------------------------------
NOTICES = NoticesConf(
    is_on=env.boolean("ENABLE_NOTIFICATIONS", True, help="Tell Slack and webhooks; false: nobody is told anything"),
    slack=SlackConf(
        is_on=env.boolean("SLACK_ENABLED", True, help="Tell Slack where the settings in the admin do not say"),
        webhook_url=env.url(
            "SLACK_WEBHOOK_URL", "", help="Slack's incoming webhook for all that have none of their own"
        ),
        bot_token=env.secret("SLACK_BOT_TOKEN", help="Slack's bot token: messages go through its API, with threads"),
        api_url=env.url("SLACK_API_URL", "https://slack.com/api/", help="Slack's API, for the bot token"),
        channel=env.text("SLACK_CHANNEL", help="Slack channel, needed with the bot token"),
        username=env.text("SLACK_USERNAME", "Nexus", help="Whom Slack shows as the sender"),
        icon_emoji=env.text("SLACK_ICON_EMOJI", ":robot_face:", help="Slack's picture of the sender"),
    ),
)

# --- What is watched ----------------------------------------------------------------------------------------
ENABLE_METRICS = env.boolean("ENABLE_METRICS", True, help="Answer /metrics; false: 404")
ENABLE_HEALTH_CHECKS = env.boolean("ENABLE_HEALTH_CHECKS", True, help="Answer /health, /livez, /readyz; false: 404")
WORKER_LATE_SECONDS = env.seconds(
    "WORKER_LATE_SECONDS", 45, help="After how long without a background task /health is degraded"
)

# --- Django ------------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    # Only where it is the server: its import is a tenth of every other command's start.
    *(["daphne"] if "runserver" in sys.argv else []),
    "unfold",  # before the admin that it clothes
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_htmx",
    "ninja",  # for the files of its documentation page: nothing comes from a CDN
    "accounts",
    "telemetry",
    "proxy",
    "dashboard",
]
MIDDLEWARE = [
    "nexus.requestid.middleware",
    "nexus.probes.middleware",
    "django.middleware.security.SecurityMiddleware",
    "nexus.csp.ContentSecurityPolicy",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]
UNFOLD = console.looks(is_debug=DEBUG)
CONTENT_SECURITY_POLICY = {"DIRECTIVES": csp.STRICT}
# A new client key is shown once, in a message: that one must not pass through the database.
MESSAGE_STORAGE = "django.contrib.messages.storage.cookie.CookieStorage"
ROOT_URLCONF = "nexus.urls"
DEFAULT_EXCEPTION_REPORTER_FILTER = "nexus.reports.ReporterFilter"
ASGI_APPLICATION = "nexus.asgi.application"
ALLOWED_HOSTS = list(env.names("ALLOWED_HOSTS", ("localhost", "127.0.0.1", "[::1]"), help="Host names of the console"))
CSRF_TRUSTED_ORIGINS = list(env.names("CSRF_TRUSTED_ORIGINS", help="Origins of the console behind a proxy"))
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = not DEBUG
SECURE_SSL_REDIRECT = env.boolean(
    "HTTPS_REDIRECT", False, help="Send the console's visitors from http to https; probes and /v1 are never redirected"
)
SECURE_HSTS_SECONDS = env.integer(
    "HSTS_SECONDS", 2_592_000, help="How long browsers shall come by https only, told to those who did; 0: not told"
)
# Which other names of the domain have https is not ours to say.
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = False
if not DEBUG:
    for _sentence in safety.unsafe(
        secret_key=SECRET_KEY,
        encryption_keys=NEXUS_ENCRYPTION_KEYS,
        dashboard_key=DASHBOARD_API_KEY,
        metrics_token=METRICS_TOKEN,
        allowed_hosts=ALLOWED_HOSTS,
        trusted_origins=CSRF_TRUSTED_ORIGINS,
        trusted_proxies=TRUSTED_PROXIES,
    ):
        raise ImproperlyConfigured(_sentence)
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en"
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "static/"
# Without a folder of collected files the packages' own are served.
STATIC_ROOT = env.text("STATIC_ROOT", help="Folder of collected static files") or None
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True
WHITENOISE_ALLOW_ALL_ORIGINS = False
WHITENOISE_IMMUTABLE_FILE_TEST = r"/vendor/"  # their names tell their versions
WHITENOISE_AUTOREFRESH = DEBUG

# --- Database: PostgreSQL when DATABASE_URL is set, else SQLite (facts/ecosystem.md 1.3, 4.1) -------------------
DATABASE_URL = env.url(
    "DATABASE_URL", "", help="PostgreSQL; none: SQLite in NEXUS_DATA", schemes=("postgres", "postgresql", "sqlite")
)
DB_POOL_SIZE = env.integer("DB_POOL_SIZE", 10, help="PostgreSQL connections of one process", minimum=2)
_database: dict[str, Any] = environ.Env.db_url_config(DATABASE_URL or f"sqlite:///{NEXUS_DATA / 'nexus.db'}")
if _database["ENGINE"] == "django.db.backends.sqlite3":
    _database["OPTIONS"] = {
        **_database.get("OPTIONS", {}),
        "timeout": 20,
        # WAL alone lost a third of concurrent transactions: a lock upgrade fails at once.
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA temp_store=MEMORY;"
        "PRAGMA mmap_size=134217728; PRAGMA journal_size_limit=27103364; PRAGMA cache_size=-20000;",
    }
else:
    _database["OPTIONS"] = {
        **_database.get("OPTIONS", {}),
        "pool": {"min_size": 1, "max_size": DB_POOL_SIZE, "timeout": 5},
    }
    _database["CONN_MAX_AGE"] = 0
# Tests that cross threads need a file: SQLite in memory locks whole tables between connections.
_database["TEST"] = {"NAME": None if DATABASE_URL else str(NEXUS_DATA / "tests.db")}
DATABASES = {"default": _database}

# Of `check --deploy`: other subdomains (above), and redirects: mostly the proxy that ends TLS makes them.
DEPLOYMENT_CHECKS = ["security.W005", "security.W008", "security.W021"]

# --- Redis, or its equivalents in one process ------------------------------------------------------------------
CACHES: dict[str, Any]
if REDIS_URL:
    CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": REDIS_URL,
            "OPTIONS": {"socket_connect_timeout": 2, "socket_timeout": 5},
        }
    }
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [REDIS_URL], "prefix": "nexus"},
        }
    }
    CELERY_BROKER_URL = REDIS_URL
    SILENCED_SYSTEM_CHECKS = ["django_ratelimit.W001", *DEPLOYMENT_CHECKS]
else:
    CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "OPTIONS": {"MAX_ENTRIES": 10_000},
        }
    }
    CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    CELERY_BROKER_URL = "memory://localhost/"
    # One process only: an in-process cache counts log-in attempts correctly there.
    SILENCED_SYSTEM_CHECKS = ["django_ratelimit.E003", *DEPLOYMENT_CHECKS]

CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_SOFT_TIME_LIMIT, CELERY_TASK_TIME_LIMIT = 300, 315  # of what beat did not start
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
# Its message comes back when the connection does: to go on would be to run it twice.
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # Redis may be away for longer than a worker would try
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, float] = (
    {"visibility_timeout": schedule.VISIBILITY_SECONDS} if REDIS_URL else {"polling_interval": 0.05}
)
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_REDIRECT_STDOUTS = False
CELERY_BEAT_SCHEDULE = {
    # A task that is stopped in the middle could lose a token that the endpoint has just given: it gets more time.
    "refresh-tokens": {
        "task": "telemetry.tasks.refresh_tokens",
        "schedule": 30,
        "options": {"soft_time_limit": 240, "time_limit": 260},
    },
    "adopt-spools": {"task": "telemetry.tasks.adopt_spools", "schedule": 60},
    "continue-repricing": {"task": "telemetry.tasks.continue_repricing", "schedule": 60},
    "clean-record": {"task": "telemetry.tasks.clean_record", "schedule": 3600},
    "export": {"task": "telemetry.tasks.export", "schedule": 5, "options": {"expires": 5}},
    "note-last-use": {"task": "telemetry.tasks.note_last_use", "schedule": 60},
    "recheck-credentials": {"task": "telemetry.tasks.recheck_credentials", "schedule": 60},
    "roll-up": {"task": "telemetry.tasks.roll_up", "schedule": 10},
    "verify-rollups": {"task": "telemetry.tasks.verify_rollups", "schedule": crontab(hour=3, minute=17)},
    "send-notices": {"task": "telemetry.tasks.send_notices", "schedule": 2},
    "tell-on-time": {"task": "telemetry.tasks.tell_on_time", "schedule": 30},
    "watch": {"task": "telemetry.tasks.watch", "schedule": 30},
    # That it ran is the news: whoever looks sees within a minute that nobody works, or that somebody is stuck.
    "pulse": {"task": "telemetry.tasks.pulse", "schedule": min(10.0, WORKER_LATE_SECONDS / 4)},
}
CELERY_BEAT_SCHEDULE = schedule.complete(CELERY_BEAT_SCHEDULE)

_log_json = env.boolean("LOG_JSON", None, help="Log lines as JSON; default: outside DEBUG")
LOG_JSON = not DEBUG if _log_json is None else _log_json
LOGGING = logs.configuration(LOG_LEVEL, json_lines=LOG_JSON)
