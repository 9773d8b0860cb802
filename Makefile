# make demo · make test · make lint · make bench. The first three need nothing but Python 3.11 and a package index.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# Building and installing take their versions from the one file of pins.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

FLOW ?= ../shared/data/megc2019_flow

.PHONY: demo test test-slow lint format bench clean

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q torch==2.13.0
	$(BIN)/python -m pip install -q -e .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install -q -e '.[dev]'
	@touch $@

demo: $(VENV)/installed
	@MIEN=$(BIN)/mien sh examples/demo.sh demo

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/pytest -m "not slow" -n 2

test-slow: $(VENV)/installed-dev
	$(BIN)/pytest -m slow

format: $(VENV)/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/installed-dev
	$(BIN)/python benchmarks/video.py --out benchmarks/results/video.md
	$(BIN)/python benchmarks/face.py --out benchmarks/results/face.md
	$(BIN)/python benchmarks/magnify.py --out benchmarks/results/magnify.md
	$(BIN)/python benchmarks/flow.py --out benchmarks/results/flow.md
	$(BIN)/python benchmarks/growth.py --out benchmarks/results/growth.md
	$(BIN)/python benchmarks/strcn.py --out benchmarks/results/strcn.md
	$(BIN)/python benchmarks/descriptors.py --out benchmarks/results/descriptors.md
	$(BIN)/python benchmarks/sma_stn.py --out benchmarks/results/sma_stn.md
	$(BIN)/python benchmarks/microexp.py --out benchmarks/results/microexp.md
	$(BIN)/python benchmarks/serve.py --out benchmarks/results/serve.md
	$(BIN)/python benchmarks/synthesis.py --real $(FLOW) --out benchmarks/results/synthesis.md
	$(BIN)/python benchmarks/head.py --pictures docs/pictures/head --out benchmarks/results/head.md
	$(BIN)/python benchmarks/spotting.py --minutes 5 --people 2 --growth 1 30 --out benchmarks/results/spotting.md
	$(BIN)/python benchmarks/recognise.py --seconds 60 --long 1800 --out benchmarks/results/recognise.md
	$(BIN)/python benchmarks/shipped_weights.py --choose
	$(BIN)/python benchmarks/ststnet_loso.py $(FLOW)
	$(BIN)/python benchmarks/flow_scores.py $(FLOW)

clean:
	rm -rf $(VENV) demo runs .pytest_cache .mypy_cache .ruff_cache
