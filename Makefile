# Two commands for a new user: `make run` and `make test`. Both need python3 (3.11 or later) and nothing else.
PYTHON ?= python3
BIN := .venv/bin
UV := $(BIN)/uv
UV_VERSION := 0.13.9
PIP_AUDIT_VERSION := 2.10.1
ARGS ?=
.DEFAULT_GOAL := help
.PHONY: help run demo test test-embedded test-cluster cluster-test clients lint format bench bench-dashboards screenshots audit lock clean

help: ## Say what there is
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

run: .venv/.run ## Serve on 127.0.0.1:8000 with everything in one process
	@DEBUG=true exec $(BIN)/nexus serve $(ARGS)

demo: .venv/.run ## The same with a stand-in for the Claude API and a trickle of traffic
	@exec $(BIN)/nexus demo $(ARGS)

test: test-embedded test-cluster ## The whole suite, on SQLite in one process and on PostgreSQL and Redis

test-embedded: .venv/.dev clients
	$(BIN)/pytest --backend=embedded $(ARGS)

test-cluster: .venv/.dev clients
	$(BIN)/pytest --backend=cluster $(ARGS)

cluster-test: .venv/.dev ## A whole cluster under load and faults; writes the table of docs/reliability.md
	$(BIN)/pytest --backend=cluster -m cluster tests/cluster $(ARGS)

clients: tests/e2e/.clients/.installed ## The TypeScript SDK and Claude Code, for the end-to-end tests

lint: .venv/.dev ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	DEBUG=true NEXUS_DATA=.venv/lint-data $(BIN)/mypy .

format: .venv/.dev ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/.dev ## Measure against the raw limit; writes bench/latest.json
	$(BIN)/python -m bench $(ARGS)

bench-dashboards: .venv/.dev ## Measure what 200 open dashboards cost the proxy
	$(BIN)/python -m bench.dashboards $(ARGS)

screenshots: .venv/.dev ## Take the pictures in docs/screenshots anew
	$(BIN)/python -m bench.screenshots $(ARGS)

# --strict: where PyPI does not tell of a package, that is a failure, not silence.
audit: .venv/bin/uv ## Ask PyPI for known vulnerabilities of all that uv.lock names
	$(UV) export --quiet --frozen --all-groups --all-extras --no-emit-project --output-file .venv/audit.txt
	$(UV) tool run --quiet pip-audit==$(PIP_AUDIT_VERSION) --strict --require-hashes --disable-pip --requirement .venv/audit.txt

lock: .venv/bin/uv ## Renew uv.lock
	$(UV) lock --upgrade

clean: ## Remove what was installed and cached, not the data
	rm -rf .venv tests/e2e/.clients .mypy_cache .ruff_cache .pytest_cache .hypothesis

.venv/bin/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Nexus needs Python 3.11 or later; try make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.venv/.run: .venv/bin/uv uv.lock pyproject.toml
	$(UV) sync --quiet --frozen --inexact --no-default-groups
	@touch $@

.venv/.dev: .venv/bin/uv uv.lock pyproject.toml
	$(UV) sync --quiet --frozen --inexact
	@touch $@ .venv/.run

# Without Node.js the suite runs too, and says at its end what it left out.
tests/e2e/.clients/.installed: tests/e2e/package.json tests/e2e/package-lock.json
	@mkdir -p tests/e2e/.clients
	@if command -v npm >/dev/null; then \
		cp tests/e2e/package.json tests/e2e/package-lock.json tests/e2e/.clients/ && \
		npm ci --prefix tests/e2e/.clients --no-audit --no-fund --loglevel=error && touch $@; \
	else echo "npm is not here: the TypeScript SDK and Claude Code will be left out"; fi
