# What CI runs is what is run here. `make help` lists the recipes.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
CODE := hub servers tools resources services core src tests bench deploy docs
UV_VERSION := 0.13.9
# Much of the tests is waiting for processes they started.
TEST_PROCESSES ?= 3
PORT ?=
WORKSPACE ?=

# Every process that is started would compile the suite and its tests anew; a fifth of a whole run went there.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help up demo test coverage lint format types smoke bench docs lock clean setup setup-test

help: ## list the recipes
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1\t\2/' | expand -t 14

setup:
	@PYTHON="$(PYTHON)" deploy/set_up.sh runtime

setup-test:
	@PYTHON="$(PYTHON)" deploy/set_up.sh test

up: setup ## set up and start the suite (WORKSPACE=dir PORT=number)
	@exec $(BIN)/quantum up --config mcp.json $(if $(PORT),--port $(PORT)) $(if $(WORKSPACE),--workspace "$(WORKSPACE)")

demo: setup ## start the suite, scan REPO=path through an MCP client, print the report (OUTPUT=file keeps all)
	@[ -n "$(REPO)" ] || { echo "Error: name a repository: make demo REPO=path" >&2; exit 2; }
	@exec $(BIN)/quantum demo "$(REPO)" $(if $(OUTPUT),--output "$(OUTPUT)")

test: setup-test lint ## everything CI runs
	@$(MAKE) -j2 types smoke  # mypy alone would leave the other processors idle
	$(BIN)/pytest -n $(TEST_PROCESSES) --dist worksteal

coverage: setup-test ## the tests again, with what they reach of the code
	$(BIN)/pytest -n $(TEST_PROCESSES) --dist worksteal --cov --cov-report=term:skip-covered

lint: setup-test ## formatting, lint rules, layers
	$(BIN)/ruff format --check $(wildcard $(CODE))
	$(BIN)/ruff check $(wildcard $(CODE))
	$(BIN)/lint-imports

types: setup-test ## mypy, strict
	$(BIN)/mypy -p quantum_suite
	MYPYPATH=tests $(BIN)/mypy $(wildcard bench deploy docs)

smoke: setup-test ## each benchmark in a few seconds, three at a time, to see that it runs
	@grep -l -- --smoke bench/*.py | xargs -P 3 -I BENCH $(SHELL) -c \
	    'printed=$$($(BIN)/python BENCH --smoke 2>&1) && echo "BENCH --smoke: ran" || { echo "BENCH --smoke:"; echo "$$printed"; exit 255; }'

bench: setup-test ## measure
	@for bench in $$(grep -l -- --smoke bench/*.py); do echo "$$bench"; $(BIN)/python "$$bench"; done

format: setup-test ## put code into shape
	$(BIN)/ruff format $(wildcard $(CODE))
	$(BIN)/ruff check --fix $(wildcard $(CODE))

docs: setup-test ## bring the help shown in the manual up to date
	$(BIN)/python docs/help_blocks.py

lock: ## resolve dependencies anew, with hashes
	@[ -x .cache/lock/bin/uv ] || { python3 -m venv .cache/lock && .cache/lock/bin/pip install -q uv==$(UV_VERSION); }
	.cache/lock/bin/uv pip compile pyproject.toml --extra trivy --extra knowledge --extra llm --extra types --extra sre --extra infra --group build \
	    --universal --no-strip-extras --python-version 3.11 --generate-hashes --no-header --no-annotate $(LOCK_OPTIONS) -q -o requirements.lock
	.cache/lock/bin/uv pip compile pyproject.toml --extra trivy --extra knowledge --extra llm --extra types --extra otel --extra nats --extra valkey --extra analytics --extra keyring --extra sre --extra infra --group build --group test --group lint -c requirements.lock \
	    --universal --no-strip-extras --python-version 3.11 --generate-hashes --no-header --no-annotate $(LOCK_OPTIONS) -q -o requirements-test.lock
	@! grep -nE '://|index-url|find-links' requirements.lock requirements-test.lock

clean: ## remove everything that was made here
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage .coverage.* dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
