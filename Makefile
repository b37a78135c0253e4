# Every target does its own set-up: a virtual environment in .venv and the package in
# it. Nothing is assumed but python3 (3.10 or newer), make and a package registry.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo

.PHONY: help demo test lint format clean
.DEFAULT_GOAL := help

help:  ## say what each target does
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/'

demo: $(VENV)/.ready-demo  ## fit on random words, score painted pictures, leave a contact sheet
	$(BIN)/python -m skclipad demo --out $(DEMO)

test: $(VENV)/.ready-test lint  ## lint, then every test and doctest, with coverage (95 % of the lines at least)
	$(BIN)/python -m pytest --cov --cov-report=term --cov-fail-under=95

lint: $(VENV)/.ready-test  ## ruff's rules and ruff's format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.ready-test  ## mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove the environment and everything the targets left
	rm -rf $(VENV) $(DEMO) build dist htmlcov .coverage .coverage.* *.egg-info \
	    .pytest_cache .ruff_cache .hypothesis
	find skclipad tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 10) or sys.exit("make: $(PYTHON) is Python %d.%d, but skclipad needs 3.10 or newer; name another with `make PYTHON=...`" % v[:2])'
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# One pip command for everything: pip then chooses torch and torchvision together.
# Installed in two steps, they may not match. The stamps keep a second `make` quick.
$(VENV)/.ready-demo: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.ready-test: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $(VENV)/.ready-demo $@
