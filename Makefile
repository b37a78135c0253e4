# Every target does its own set-up: a virtual environment in .venv and the package in
# it. Nothing is assumed but python3 (3.10 or newer), make and a package registry.

PYTHON ?= python3
# Where torch and torchvision come from, if not from where all else does. On Linux torch
# brings some GB of CUDA along; pytorch.org's page names an index for each kind of machine,
# for CPUs alone `make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu`.
TORCH_INDEX ?=
VENV := .venv
BIN := $(VENV)/bin
DOCS_VENV := .venv-docs
MIN_VENV := .venv-min
OTHERS_VENV := .venv-others
DEMO := demo

.PHONY: help demo test test-min test-others fuzz audit docs lint format clean
.DEFAULT_GOAL := help

help:  ## say what each target does
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/'
	@echo "  ... TORCH_INDEX=URL	torch from there; without CUDA: https://download.pytorch.org/whl/cpu"

demo: $(VENV)/.ready-demo  ## fit on random words, score photos in three ways, leave a report
	$(BIN)/python -m skclipad demo --out $(DEMO)

# In the order of their names: by default files of few tests come last, and these are the
# longest ones here, so that a worker would wait for another one at the end.
test: $(VENV)/.ready-test lint  ## lint, then every test and doctest, with coverage (95 % of the lines at least)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --dist loadfile --no-loadscope-reorder --cov --cov-report=term --cov-fail-under=95

test-min: $(MIN_VENV)/.ready  ## every test with the oldest versions that setup.cfg allows
	OMP_NUM_THREADS=1 $(MIN_VENV)/bin/python -m pytest -n logical --dist loadfile --no-loadscope-reorder

test-others: $(OTHERS_VENV)/.ready  ## that FiftyOne, Label Studio and MLflow take what we write; they bring some GB
	$(OTHERS_VENV)/bin/python -m pytest tests/test_other_tools.py

fuzz: $(VENV)/.ready-test  ## read 20,000 damaged pictures, try 500 values of each parameter; the tests do 750 and 20
	$(BIN)/python tools/fuzz.py
	SKCLIPAD_TEST_EXAMPLES=500 $(BIN)/python -m pytest -q tests/test_properties.py

# The lists name public versions: 2.9.1, and not the 2.9.1+cpu of an index of torch's own.
audit: $(VENV)/.ready-test  ## known vulnerabilities of what is installed; fails where they cannot be looked up
	$(BIN)/python -m pip install --quiet --disable-pip-version-check pip-audit
	$(BIN)/python -m pip list --disable-pip-version-check --format=freeze --exclude-editable > $(VENV)/installed.txt
	sed 's/+.*//' $(VENV)/installed.txt > $(VENV)/audited.txt
	@$(BIN)/python -m pip_audit --strict --disable-pip --no-deps --requirement $(VENV)/audited.txt \
	    || { echo "make: not every package is known to be free of vulnerabilities. Where the line above says that one is not found on PyPI or that nothing answered, they could not be looked up: run this where PyPI itself can be reached." >&2; exit 1; }

docs: $(DOCS_VENV)/.ready  ## the documentation, with its gallery, as docs/_build/html; a warning is an error
	MPLBACKEND=agg $(DOCS_VENV)/bin/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "open docs/_build/html/index.html"

lint: $(VENV)/.ready-test  ## ruff's rules and ruff's format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.ready-test  ## mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove the environment and everything the targets left
	rm -rf $(VENV) $(DOCS_VENV) $(MIN_VENV) $(OTHERS_VENV) $(DEMO) docs/_build docs/auto_examples docs/generated \
	    docs/sg_execution_times.rst build dist htmlcov .coverage .coverage.* *.egg-info \
	    .pytest_cache .ruff_cache .hypothesis
	find skclipad tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 10) or sys.exit("make: $(PYTHON) is Python %d.%d, but skclipad needs 3.10 or newer; name another with `make PYTHON=...`" % v[:2])'
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(DOCS_VENV)/.ready: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(DOCS_VENV) || { rm -rf $(DOCS_VENV); exit 1; }
	$(subst $(BIN)/,$(DOCS_VENV)/bin/,$(TORCH_FIRST))
	$(DOCS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	touch $@

# torch and torchvision in one pip command: installed in two steps, they may not match. With
# an index of their own they come first, and the second command finds them there. The stamps
# keep a second `make` quick.
ifneq ($(strip $(TORCH_INDEX)),)
TORCH_FIRST = $(BIN)/python -m pip install --quiet --disable-pip-version-check \
	    --index-url $(TORCH_INDEX) torch torchvision
endif

$(VENV)/.ready-demo: setup.cfg pyproject.toml | $(BIN)/python
	@$(BIN)/python tools/downloads.py demo --index "$(TORCH_INDEX)"
	$(TORCH_FIRST)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.ready-test: setup.cfg pyproject.toml | $(BIN)/python
	@$(BIN)/python tools/downloads.py test --index "$(TORCH_INDEX)"
	$(TORCH_FIRST)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $(VENV)/.ready-demo $@

$(OTHERS_VENV)/.ready: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(OTHERS_VENV) || { rm -rf $(OTHERS_VENV); exit 1; }
	$(subst $(BIN)/,$(OTHERS_VENV)/bin/,$(TORCH_FIRST))
	$(OTHERS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[test,others]'
	touch $@

$(MIN_VENV)/.ready: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(MIN_VENV) || { rm -rf $(MIN_VENV); exit 1; }
	$(PYTHON) tools/oldest.py > $(MIN_VENV)/oldest.txt
	$(if $(strip $(TORCH_INDEX)),$(MIN_VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
	    --index-url $(TORCH_INDEX) "$$(grep ^torch== $(MIN_VENV)/oldest.txt)" torchvision)
	$(MIN_VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
	    --requirement $(MIN_VENV)/oldest.txt --editable .
	touch $@
