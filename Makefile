# make demo · make test · make lint · make bench. The first three need nothing but Python 3.11 and a package index.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# Building and installing take their versions from the one file of pins.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# Compiled tests and modules are kept, whatever the shell says: without them the suite takes half a minute more.
unexport PYTHONDONTWRITEBYTECODE

FLOW ?= ../shared/data/megc2019_flow

.PHONY: demo test test-slow lint format bench docs docs-serve clean

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q torch==2.13.0
	$(BIN)/python -m pip install -q -e .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install -q -e '.[dev]'
	@touch $@

$(VENV)/installed-docs: $(VENV)/installed-dev
	$(BIN)/python -m pip install -q -e '.[docs]'
	@touch $@

demo: $(VENV)/installed
	@MIEN=$(BIN)/mien sh examples/demo.sh demo

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python tools/house.py

# Each of the two processes takes one core; threads of the libraries that wait for a core cost a tenth.
test test-slow: export OMP_NUM_THREADS := 1
test test-slow: export OPENBLAS_NUM_THREADS := 1

test: lint
	$(BIN)/pytest -m "not slow" -n 2 --dist worksteal

test-slow: $(VENV)/installed-dev
	$(BIN)/pytest -m slow

# The site in build/site. Warnings are errors; links, lengths and foreign addresses are checked.
docs: $(VENV)/installed-docs
	$(BIN)/python tools/docs_check.py --sources
	$(BIN)/mkdocs build --strict --clean
	$(BIN)/python tools/docs_check.py --site build/site

docs-serve: docs
	@echo "http://127.0.0.1:8123/index.html (Ctrl-C ends it)"
	@$(BIN)/python -m http.server 8123 --bind 127.0.0.1 --directory build/site

format: $(VENV)/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# BENCH="--quick" or BENCH="--only strcn serve" for a part of it.
bench: $(VENV)/installed-dev
	$(BIN)/python benchmarks/all.py --flow $(FLOW) $(BENCH)

clean:
	rm -rf $(VENV) build demo runs .pytest_cache .mypy_cache .ruff_cache
