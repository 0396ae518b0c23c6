# make demo    fit the O2/Pd(100) surface and draw it      make bench   speed, next to PyTorch
# make test    the tests                                   make peers   agreement with PyTorch
# make lint    ruff and mypy                               make docs    HTML in docs/_build
# make examples / make clean                               make full    all examples in full, against their bars
#
# Every target makes what it needs in .venv. `make test PYTHON=python3.12` picks an interpreter, and
# `make test JOBS=1 PYTEST_ARGS="tests/data -x"` says how and what to run.

VENV ?= .venv
JOBS ?= auto
PYTEST_ARGS ?=
EXAMPLE_ARGS ?=
BENCH_ARGS ?=

# The first interpreter that is new enough, under its usual names.
ifndef PYTHON
PYTHON := $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
    "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)
endif

PY := $(VENV)/bin/python
INSTALL := $(PY) -m pip install --quiet --disable-pip-version-check
# One BLAS thread per process: several pytest workers share the cores, and small products are slower on many threads.
ONE_THREAD := OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
NO_WINDOW := MPLBACKEND=Agg

.PHONY: help demo test full peers lint format docs examples bench clean
.DEFAULT_GOAL := help

help:
	@sed -n '1,8s/^# \{0,1\}//p' Makefile

demo: $(VENV)/.with-examples
	$(NO_WINDOW) $(PY) examples/pes_o2_pd100.py $(EXAMPLE_ARGS)

test: $(VENV)/.with-test
	$(ONE_THREAD) $(NO_WINDOW) $(PY) -m pytest -q -n $(JOBS) --dist worksteal $(PYTEST_ARGS)

full: $(VENV)/.with-test
	$(ONE_THREAD) $(NO_WINDOW) $(PY) -m pytest -q -m full -n $(JOBS) --dist worksteal tests/examples/test_full.py $(PYTEST_ARGS)

peers: $(VENV)/.with-test $(VENV)/.with-torch
	$(ONE_THREAD) $(NO_WINDOW) $(PY) -m pytest -q -m peers $(PYTEST_ARGS)

lint: $(VENV)/.with-lint
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

format: $(VENV)/.with-lint
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

docs: $(VENV)/.with-docs
	$(PY) -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

examples: $(VENV)/.with-examples
	@set -e; for script in examples/[!_]*.py; do \
	    echo "== $$script"; $(NO_WINDOW) $(PY) $$script $(EXAMPLE_ARGS); done

bench: $(VENV)/.with-examples $(VENV)/.with-torch
	@set -e; for script in benchmarks/[!_]*.py; do \
	    echo "== $$script"; $(NO_WINDOW) $(PY) $$script $(BENCH_ARGS); done

clean:
	rm -rf $(VENV) build dist *.egg-info docs/_build docs/api .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- the environment: a stamp file per group of dependencies, so that a second call installs nothing

$(VENV)/.with-%: pyproject.toml $(VENV)/.made
	$(INSTALL) -e '.[$*]'
	@touch $@

# Not '.[peers]': the tests and the benchmarks need no JAX (600 MB), and of PyTorch exactly this build.
$(VENV)/.with-torch: pyproject.toml $(VENV)/.made
	$(INSTALL) torch==2.13.0 'dscribe>=2.1'
	@touch $@

# Some distributions ship venv without ensurepip; then the interpreter's own pip installs one.
$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "tinynn needs Python 3.11 or newer; name one with: make PYTHON=..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { $(PYTHON) -m venv --clear --without-pip $(VENV) \
	    && $(PYTHON) -m pip --python $(VENV)/bin/python install --quiet pip; }
	@touch $@
