# Two commands on a fresh machine: make run, make test.
.DEFAULT_GOAL := help
.PHONY: help setup setup-dev run test test-long check format types cover bench bench-check lock clean

PORT ?=
VLLM ?=
VLLM_API_KEY ?=
PYTHON ?=
TESTS ?= tests
WORKERS ?= 3
BENCH ?=
CHECK ?=
export VLLM_API_KEY PYTHON

BIN := .venv/bin

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS='	' read -r name text; do printf '  make %-11s %s\n' "$$name" "$$text"; done

setup: .venv/.run-time ## create .venv with the locked run-time packages and the sluice command
setup-dev: .venv/.development ## the same, with everything the tests need

.venv/.run-time: requirements.lock .ci/setup
	@.ci/setup requirements.lock
	@touch $@

.venv/.development: requirements-dev.lock requirements.lock .ci/setup
	@.ci/setup requirements-dev.lock
	@touch $@ .venv/.run-time

run: .venv/.run-time ## gateway with two simulated endpoints; VLLM=http://host:8000,… uses real ones; PORT=, VLLM_API_KEY=
	@exec $(BIN)/sluice demo $(if $(PORT),--port '$(PORT)') $(if $(VLLM),--vllm '$(VLLM)')

test: .venv/.development ## all tests, real PostgreSQL and Redis included; TESTS=tests/unit/… runs a part
	@$(BIN)/python -m compileall -q app alembic
	@$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m 'not long' $(TESTS)

test-long: .venv/.development ## the tests that take long: soak, overload on wall clock, rolling restarts
	@$(BIN)/python -m pytest -q -m long $(TESTS)

check: .venv/.development ## lint, format, types, layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: .venv/.development ## format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

types: .venv/.development ## a second opinion on types: pyright, which fetches its engine on first use
	@$(BIN)/pyright

cover: .venv/.development ## branch coverage of the tests
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest -q -m 'not long' $(TESTS)
	@$(BIN)/coverage report --skip-covered --show-missing

bench: .venv/.development ## gateway beside a bare relay and nginx; BENCH='--quick json-64' runs a part
	@$(BIN)/python -m bench $(BENCH)

bench-check: .venv/.development ## whether calls cost more work than they did: counted, so that any machine will do; CHECK=--profile
	@$(BIN)/python -m bench.check $(CHECK)

lock: ## renew both lock files (needs uv); the index is whatever uv is configured with
	@uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --extra redis -o requirements.lock pyproject.toml
	@uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --extra redis --group dev -c requirements.lock -o requirements-dev.lock pyproject.toml

clean: ## remove .venv, caches and the demo's state
	@rm -rf .venv .sluice .coverage .coverage.* htmlcov .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
