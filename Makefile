# Six words and a few more; each sets up what it needs. `make quickstart` is the first command.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PEERS := .venv-peers
PEERS_READY := $(PEERS)/.ready
TORCH := $(shell sed -n 's/^\(torch==.*\)/\1/p' constraints.txt)

.PHONY: help setup quickstart fix check test bench bench-setup docs clean

help:  ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

setup: $(READY)  ## make .venv and install into it

# torch first and by itself: a plain requirement of it would take the largest build there is
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(not (3, 11) <= v < (3, 13))' \
	  || { echo "make: Python 3.11 or 3.12 is needed; type: make setup PYTHON=python3.12"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check $(TORCH)
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(READY)

quickstart: $(READY)  ## from this Python's own text to a tree of trained models
	$(BIN)/ramify run quickstart

fix: $(READY)  ## format and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

check: $(READY)  ## format, lint, types, floors, size of files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest tests/test_floors.py tests/test_house.py

test: $(READY)  ## every test
	$(BIN)/pytest -n 2

bench-setup: $(READY) $(PEERS_READY)  ## make .venv-peers with what the benchmarks compare to

$(PEERS_READY): benchmarks/peers.txt
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/pip install -q --disable-pip-version-check -r benchmarks/peers.txt
	touch $(PEERS_READY)

bench: bench-setup  ## run every benchmark and write docs/benchmarks.md
	$(BIN)/python benchmarks/all.py

docs: $(READY)  ## make again the parts of the docs that are generated
	$(BIN)/python docs/make.py

clean:  ## remove what setup made; labs stay
	rm -rf $(VENV) $(PEERS) build src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
