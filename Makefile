# make setup   .venv by uv.lock, jars by jars.lock
# make demo    everything on this machine, with a seeded shop; FOR=90 stops after 90 s
# make test    imports, style, types, tests
# make properties  the property tests at length; N=10000 pairs of rules and history in all
# make airflow Airflow on loopback, for the DAGs in dags/
.DEFAULT_GOAL := help
.PHONY: help setup doctor demo test properties chaos clients lint format
.PHONY: bench bench-kernel bench-recompute bench-idle bench-windows bench-ingest bench-profiles
.PHONY: bench-published
.PHONY: airflow airflow-test clean

HEADRACE := .venv/bin/headrace
AIRFLOW := .airflow/venv/bin/airflow

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

setup: ## Install everything into .venv and fetch the jars
	@./setup.sh

doctor: setup ## Say what is missing on this machine
	@$(HEADRACE) doctor

demo: setup ## Run everything with a seeded shop (FOR=seconds)
	@$(HEADRACE) demo $(if $(FOR),--for $(FOR))

lint: setup ## Imports, style and types
	.venv/bin/lint-imports --no-cache
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

# Much of a test with servers is waiting for one to start: two at once keep two cores busy.
WORKERS ?= 2

test: lint $(AIRFLOW) ## Lint, then the whole suite with real servers
	.venv/bin/pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder $(TESTS)

N ?= 10000
SEED ?= $(shell date +%s)

properties: setup ## Property tests at length (N=10000 pairs of rules and history in all, SEED= to replay)
	@echo "SEED=$(SEED)"
	PROPERTIES=$(N) .venv/bin/pytest -m hypothesis --timeout=0 --hypothesis-seed=$(SEED) \
		tests/rules tests/plan tests/engine

KILLS ?= 100
CHANGES ?= 50
ACTIONS ?= 10000
DEATHS ?= 20
FAILOVERS ?= 5
AWAY ?= 600

chaos: setup ## Everything dies at random places while rules change (KILLS=100, SEED=); docs/reliability.md
	.venv/bin/pytest -q --junitxml=.cache/chaos/mutations.xml tests/chaos/mutations.py
	.venv/bin/python tests/chaos/lives.py --actions $(ACTIONS) --seed $(SEED)
	.venv/bin/python tests/chaos/stops.py --stops $(KILLS) --seed $(SEED)
	.venv/bin/python tests/chaos/rule_changes.py --changes $(CHANGES) --seed $(SEED)
	.venv/bin/python tests/chaos/backfills.py --deaths $(DEATHS) --seed $(SEED)
	.venv/bin/python tests/chaos/storm.py --kills $(KILLS) --seed $(SEED) --postgres-away $(AWAY)
	.venv/bin/python tests/chaos/storm.py --reserve --kills $(FAILOVERS) --seed $(SEED)
	.venv/bin/python tests/chaos/page.py

clients: setup ## Clients of others, from npm and PyPI, and schemathesis, against the event API
	.venv/bin/pytest -q --timeout=0 tests/clients/official.py

format: setup ## Rewrite the code as ruff likes it
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

bench-kernel: setup ## Measure rules for everyone on one core; writes docs/benchmarks-kernel.md
	.venv/bin/python tests/bench/evaluation.py --write docs/benchmarks-kernel.md $(BENCH)
	.venv/bin/python tests/bench/validation.py

bench-recompute: setup ## Measure recomputes and audits of a million users; docs/benchmarks-recompute.md
	.venv/bin/python tests/bench/recompute.py --write docs/benchmarks-recompute.md

bench-idle: setup ## Measure what idle users cost a batch; docs/benchmarks-idle.md
	.venv/bin/python tests/bench/idle.py --write docs/benchmarks-idle.md

bench-windows: setup ## Measure what longer windows cost a batch; docs/benchmarks-windows.md
	.venv/bin/python tests/bench/windows.py --write docs/benchmarks-windows.md

bench-profiles: setup ## Measure profiles of single users among a million; writes docs/benchmarks-profiles.md
	.venv/bin/python tests/bench/profiles.py --write docs/benchmarks-profiles.md

bench-ingest: setup ## Measure the event API, ten minutes without a broker too; docs/benchmarks-ingest.md
	.venv/bin/python tests/bench/ingest.py --away $(AWAY) --write docs/benchmarks-ingest.md

bench-published: setup ## Measure what publishing all events costs; docs/benchmarks-published.md
	.venv/bin/python tests/bench/main_job.py --rules 1000 --publish \
		--skip plain,rivals,evaluate,latency --output docs/benchmarks-published.md

bench: setup ## Measure the streaming job; writes docs/benchmarks.md
	.venv/bin/python tests/bench/main_job.py $(BENCH)

# 200 MB, some seconds: cheap enough for the tests, which let it read the DAGs.
$(AIRFLOW): uv.lock
	@./setup.sh airflow
	@touch $@

airflow-test: setup $(AIRFLOW) ## Run the DAGs through Airflow for real; kill, clear and double their jobs
	.venv/bin/pytest tests/dags/real_runs.py

airflow: setup $(AIRFLOW) ## Start Airflow on loopback (AIRFLOW_PORT=8080)
	@dags/run_airflow.sh

clean: ## End what runs here; remove its data and every cache of this folder
	@if [ -x $(HEADRACE) ]; then $(HEADRACE) down; fi
	rm -rf .headrace .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -rf spark-warehouse metastore_db derby.log dist build
	find src tests jobs dags serving -name __pycache__ -type d -prune -exec rm -rf {} +
