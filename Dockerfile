# syntax=docker/dockerfile:1
FROM python:3.13-slim AS build
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PROJECT_ENVIRONMENT=/nexus/.venv
RUN pip install --no-cache-dir uv==0.13.9
WORKDIR /nexus
COPY pyproject.toml uv.lock README.md ./
RUN uv sync --frozen --no-default-groups --extra otel --no-install-project
COPY . .
RUN uv sync --frozen --no-default-groups --extra otel && \
    NEXUS_SECRET_KEY=build NEXUS_ENCRYPTION_KEYS=build STATIC_ROOT=/nexus/staticfiles .venv/bin/python manage.py collectstatic --noinput

FROM python:3.13-slim
RUN useradd --system --uid 10001 --create-home nexus && install -d -o nexus -g nexus /data
COPY --from=build /nexus /nexus
WORKDIR /nexus
USER nexus
ENV PATH=/nexus/.venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOST=0.0.0.0 PORT=8000 STATIC_ROOT=/nexus/staticfiles NEXUS_DATA=/data
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/', timeout=2)"]
ENTRYPOINT ["nexus"]
CMD ["serve"]
