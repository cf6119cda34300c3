# syntax=docker/dockerfile:1
# One image for all roles: serve, web, worker, beat, migrate. It writes to /data and /tmp only.
FROM python:3.13-slim AS build
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PROJECT_ENVIRONMENT=/nexus/.venv PIP_ROOT_USER_ACTION=ignore
RUN pip install --no-cache-dir uv==0.13.9
WORKDIR /nexus
COPY pyproject.toml uv.lock README.md ./
RUN uv sync --frozen --no-default-groups --extra otel --no-install-project
COPY . .
RUN uv sync --frozen --no-default-groups --extra otel \
    && DEBUG=true NEXUS_DATA=/tmp/build STATIC_ROOT=/nexus/staticfiles .venv/bin/python manage.py collectstatic --noinput \
    && .venv/bin/python -m compileall -q nexus proxy dashboard accounts telemetry bench \
    && rm -rf /tmp/build

FROM python:3.13-slim
RUN useradd --uid 10001 --no-log-init --no-create-home --shell /usr/sbin/nologin nexus \
    && install -d -o nexus -g nexus -m 0700 /data \
    && pip uninstall --yes --quiet --root-user-action=ignore pip
COPY --from=build /nexus /nexus
WORKDIR /nexus
USER 10001
ENV PATH=/nexus/.venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOST=0.0.0.0 PORT=8000 STATIC_ROOT=/nexus/staticfiles NEXUS_DATA=/data
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
  CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/livez', timeout=2)"]
ENTRYPOINT ["nexus"]
CMD ["serve"]
