# `make demo` and `make test` each need nothing before them but git, make and Python 3.11 or newer.
# Everything is installed into .venv, from the pins of requirements.lock; a change of either file of pins installs again.

# The first of these commands that is new enough; another one: make PYTHON=/path/to/python demo
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock

# Test processes share the cores: one thread each, idle threads sleep, and nothing looks for the network.
TEST_ENVIRONMENT := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false PYTHONHASHSEED=0
TESTS ?= tests
WORKERS ?= 2

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test lint types format bench clean

help: ## Say what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-8s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.installed-demo ## Build a proven model of the digits data set in 90 seconds
	$(BIN)/modelwright build digits --budget 90s
	@echo
	@echo "The run lies in the newest folder of runs/: recipe.yaml, ledger.jsonl, evaluation.json and model/ (the bundle)."
	@echo "Use it:  $(BIN)/modelwright predict --help        More:  $(BIN)/modelwright --help"

test: $(VENV)/.installed-dev lint types ## Format check, lint, type check and all tests
	@echo "== tests: pytest, $(WORKERS) processes$(if $(MODELWRIGHT_DATA),, (MODELWRIGHT_DATA is not set: tests on real data sets are skipped))"
	@$(TEST_ENVIRONMENT) $(BIN)/pytest -n $(WORKERS) --dist worksteal -rs $(TESTS) \
		&& echo "== make test: format, lint, types and tests are all good" \
		|| { echo "== make test: FAILED in the tests; one of them again: $(BIN)/pytest PATH::NAME"; exit 1; }

lint: $(VENV)/.installed-dev ## Format check and lint
	@echo "== format: ruff format --check"
	@$(BIN)/ruff format --check . || { echo "== FAILED: make format puts it right"; exit 1; }
	@echo "== lint: ruff check"
	@$(BIN)/ruff check .

types: $(VENV)/.installed-dev ## Type check of the package
	@echo "== types: basedpyright"
	@$(BIN)/basedpyright --pythonpath $(BIN)/python

format: $(VENV)/.installed-dev ## Format the code and mend what lint can mend
	$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format .

bench: $(VENV)/.installed-dev ## List the measurements against peers
	@cat benchmarks/README.md

clean: ## Remove .venv, caches and build outputs; runs/ stays
	rm -rf $(VENV) build dist src/*.egg-info .pytest_cache .ruff_cache .hypothesis
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.created:
	@test -n "$(PYTHON)" && $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "Modelwright needs Python 3.11 or newer; found $$($(or $(PYTHON),python3) --version 2>&1 | head -n 1). Install one, or name it: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "== making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); echo "$(PYTHON) can't make a virtual environment; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@touch $@

$(VENV)/.installed-demo: $(VENV)/.created pyproject.toml requirements.lock
	@echo "== installing what the main job needs"
	@$(PIP_INSTALL) --editable '.[demo]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.created pyproject.toml requirements.lock
	@echo "== installing everything"
	@$(PIP_INSTALL) --editable '.[dev]'
	@touch $(VENV)/.installed-demo $@
