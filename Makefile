# `make demo` and `make test` do all the set-up on a fresh machine that has Python 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DOCS_INSTALLED := $(VENV)/.installed-docs

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint types docs docs-serve hooks clean

help:
	@echo "make demo        repair a cohort of phantom hearts: a table on the screen, figures in demo_out/"
	@echo "make test        set up and run the fast tests"
	@echo "make lint        ruff: linter and formatter        make types   mypy"
	@echo "make docs        build the documentation in site/  make docs-serve   serve it at http://127.0.0.1:8000"
	@echo "make hooks       install the git hooks (pre-commit)"
	@echo "make clean       delete the environment and everything that was built"

# Runs again only when the requirements have changed; the package itself is installed as a link to src/.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e '.[dev]'
	@touch $@

setup: $(INSTALLED)

demo: setup
	$(BIN)/heartmend demo -o demo_out

test: setup
	$(BIN)/python -m pytest -q -m "not slow and not gpu"

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

$(DOCS_INSTALLED): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e '.[docs]'
	@touch $@

# NO_MKDOCS_2_WARNING: an announcement of mkdocs-material that has no bearing on the pinned versions.
docs: $(DOCS_INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

docs-serve: $(DOCS_INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

hooks: setup
	$(BIN)/pre-commit install

clean:
	rm -rf $(VENV) demo_out build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
