.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
# Some thousands of Python programs are started: with bytecode beside the sources, none has to compile them again.
unexport PYTHONDONTWRITEBYTECODE
REFERENCES := $(sort $(dir $(wildcard reference_connectors/*/*.py)))

.PHONY: help setup demo test lint docs soak bench clean

help: ## Show what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

.venv/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed, and $(PYTHON) is older")'
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/.demo: .venv/.made pyproject.toml
	@echo "Installing the SDK, the conformance suite and the pipeline into .venv"
	@$(BIN)/pip install --quiet --disable-pip-version-check -e '.[conformance,embedded,pipeline]'
	@touch $@

.venv/.dev: .venv/.made pyproject.toml
	@echo "Installing everything that working on the project takes into .venv"
	@$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ .venv/.demo

setup: .venv/.dev ## Install everything into .venv

demo: .venv/.demo ## Judge the simple reference connector, and carry simulated data into rows, on whatever is found
	@$(BIN)/pytest --iot2mqtt-conformance --iot2mqtt-connector=reference_connectors/simple --iot2mqtt-report=conformance-report
	@echo && $(BIN)/iot2mqtt-pipeline up --kafka embedded --simulate 5 --rate 100 --malformed 0.02 --duration 6

test: .venv/.dev ## Run all tests
	@$(BIN)/pytest -q -n 4 --dist worksteal

lint: .venv/.dev ## Check form and types
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy
# Connectors are programs in folders of their own, several of them with a main.py: each is checked alone.
	@for folder in $(REFERENCES); do (cd $$folder && $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml --cache-dir $(CURDIR)/.mypy_cache .) || exit 1; done

docs: .venv/.dev ## Build the documentation into site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

soak: .venv/.dev ## Run the tests that take long
	@$(BIN)/pytest -q -n 4 --dist worksteal -m soak

# Quix Streams needs older versions of what we share: it has an environment of its own.
.venv/quix: .venv/.dev
	@echo "Installing Quix Streams, which the pipeline is measured beside, into $@"
	@$(PYTHON) -m venv $@
	@$@/bin/pip install --quiet --disable-pip-version-check 'quixstreams[postgresql]' -e '.[pipeline]' || (rm -rf $@; exit 1)

bench: .venv/.dev .venv/quix ## Measure the reference connectors, and the SDK and the pipeline beside others
	@$(BIN)/python -m benchmarks.references
	@$(BIN)/python -m benchmarks.sdk
	@$(BIN)/python -m benchmarks.pipeline

clean: ## Remove what was made
	@rm -rf .venv site dist conformance-report
