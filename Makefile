# One command each: `make run` runs Farebox, `make test` proves it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
REQUIREMENTS := platform/deploy/requirements
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes
MESSAGES := $(wildcard platform/locale/*/LC_MESSAGES/*.po)
# Tests of whole installations, which want the machine for themselves; the others run two at a time.
WHOLE := tests/browser tests/chaos tests/conformance tests/crash tests/flows
PARTS := $(filter-out $(WHOLE),$(patsubst %/,%,$(wildcard tests/*/))) $(wildcard tests/test_*.py)
export PYTHONPATH := $(CURDIR):$(CURDIR)/platform

.PHONY: help run install test check bench chaos conformance fuzz lock messages clean

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

run: $(VENV)/runtime.stamp $(VENV)/messages.stamp ## everything, on real engines: http://127.0.0.1:8000
	@exec $(BIN)/python manage.py up

install: $(VENV)/dev.stamp $(VENV)/messages.stamp ## the virtual environment with all requirements

test: install ## every check and every test
	@$(MAKE) --no-print-directory check
	@sh tests/install_browser.sh
	@sh tests/install_node_sdk.sh
	@$(BIN)/python -m pytest -q --numprocesses 2 --dist loadfile $(PARTS)
	@$(BIN)/python -m pytest -q $(WHOLE)

check: install ## style, types, layers, migrations, templates, translations, sizes
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/lint-imports --no-cache > $(VENV)/lint-imports.log || { cat $(VENV)/lint-imports.log; exit 1; }
	@$(BIN)/mypy
	@$(BIN)/python -W ignore manage.py makemigrations --check --dry-run --settings config.settings_test
	@$(BIN)/djlint --quiet --lint templates
	@$(BIN)/python -m pytest -q tests/checks

bench: install ## what a request and a chunk cost, as one table
	@$(BIN)/python tests/bench/run.py

chaos: install ## a thousand unruly payments, an hour of kills under load, then the audit; SECONDS=600 for less
	@PAYMENT_CHAOS_TOP_UPS=1000 $(BIN)/python -m pytest -q -s tests/billing/stripe/test_together.py
	@$(BIN)/python -m tests.chaos --seconds $(or $(SECONDS),3600) --seed $(or $(SEED),1)

fuzz: install ## a hundred thousand mutated requests, and as many streams
	@FUZZ_ROUNDS=12500 $(BIN)/python -m pytest -q tests/relay/vendors -k test_fuzz --timeout 3600

conformance: install ## asks every vendor's double for everything, writes platform/docs/conformance.md
	@$(BIN)/python -m tests.conformance

lock: install ## renew the hash-locked requirement files
	@cd $(REQUIREMENTS) && for name in runtime dev; do \
		$(CURDIR)/$(BIN)/uv pip compile $$name.in --output-file $$name.txt --generate-hashes --universal \
			--python-version 3.11 --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" --quiet --upgrade; done

messages: install ## collect translatable text into the .po files
	@$(BIN)/python manage.py makemessages --locale zh_Hans --no-obsolete --no-location --ignore .venv --ignore var

clean: ## the virtual environment and caches; data in var/ stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Farebox needs Python 3.11 or newer"; exit 2; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/runtime.stamp: $(REQUIREMENTS)/runtime.txt | $(VENV)/bin/python
	@echo "Installing what Farebox needs (once)…"
	@$(PIP) --requirement $<
	@touch $@

$(VENV)/dev.stamp: $(REQUIREMENTS)/dev.txt | $(VENV)/bin/python
	@echo "Installing what the checks and tests need (once)…"
	@$(PIP) --requirement $<
	@touch $@ $(VENV)/runtime.stamp

$(VENV)/messages.stamp: $(MESSAGES) $(VENV)/runtime.stamp
	@$(BIN)/pybabel --quiet compile --domain django --directory platform/locale
	@touch $@
