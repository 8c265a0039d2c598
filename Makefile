# Needs Python 3.11 or newer with pip, and make. All it installs goes to .venv, all it keeps to
# .cache, both in this folder. PYTHON=/path/to/python chooses the Python of a new .venv, and
# ARGS="..." is handed to the program that a target runs.

SHELL := /bin/sh
MAKEFLAGS += --no-print-directory
BIN := .venv/bin
PYTHONS := python3 python3.15 python3.14 python3.13 python3.12 python3.11 python

export PIP_CACHE_DIR := $(CURDIR)/.cache/pip
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export XDG_CACHE_HOME := $(CURDIR)/.cache

# As many tests at once as there are processors; ARGS=-n0 for one after the other, as pdb wants it.
SIDE_BY_SIDE := --numprocesses=logical --maxprocesses=4 --dist=worksteal

.DEFAULT_GOAL := help
.PHONY: help demo test check bench docs clean

help:  ## show this list
	@grep -hE '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## (.*)/make \1\t\2/'

demo: .venv/.demo  ## see a first conversation; needs no key and no network once installed
	@$(BIN)/llambdao demo $(ARGS)

test: .venv/.dev  ## run every test and every check (ARGS="-k mailbox" for some)
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE) $(ARGS)

check: .venv/.dev  ## the checks alone: format, lint, types, layers
	@$(BIN)/ruff format --check
	@$(BIN)/ruff check
	@$(BIN)/mypy
	@$(BIN)/pyright
	@$(BIN)/lint-imports --no-logo

bench: .venv/.dev  ## measure, beside a floor in the same process
	@$(BIN)/python -m benchmarks $(ARGS)

docs: .venv/.dev  ## build the site into site/
	@$(BIN)/python docs/gen_reference.py
	@$(BIN)/zensical build --clean --strict

clean:  ## remove everything that make made
	rm -rf .venv .bench .cache .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	rm -rf build dist docs/reference site
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps: each is touched when its step is done, so that a second run does nothing.

.venv/.python:
	@for python in $${PYTHON:-$(PYTHONS)}; do \
	  if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "Making .venv with $$("$$python" --version) ..."; \
	    "$$python" -m venv --clear .venv >.venv.log 2>&1 \
	      || { "$$python" -m venv --clear --without-pip .venv \
	           && "$$python" -m pip --python $(BIN)/python install --quiet pip; } \
	      || { cat .venv.log; rm -rf .venv .venv.log; exit 1; }; \
	    rm -f .venv.log; touch $@; exit 0; \
	  fi; \
	done; \
	echo "LLAMBDAO needs Python 3.11 or newer; none found among: $${PYTHON:-$(PYTHONS)}." >&2; \
	echo "Install one, or name it: make PYTHON=/path/to/python3.11 ..." >&2; \
	exit 1

.venv/.demo: .venv/.python pyproject.toml
	@echo "Installing llambdao[console] ..."
	@$(BIN)/python -m pip install --quiet --editable '.[console]'
	@touch $@

.venv/.dev: .venv/.python pyproject.toml
	@echo "Installing llambdao[all] and the tools of its developers ..."
	@$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'  # the first to know dependency groups
	@$(BIN)/python -m pip install --quiet --editable '.[all]' --group dev
	@touch .venv/.demo $@
