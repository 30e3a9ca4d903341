# make demo   bound two small classifiers and certify their test set
# make test   run the test suite
# make check  lint, format and types as well

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SAMPLES := sample_models
EPS := --eps 0.1 --eps 0.25 --eps 0.5 --eps 1

.PHONY: demo test lint check bench clean

demo: $(VENV)/.ready
	@echo "A network trained to be 1-Lipschitz:"
	@$(BIN)/lipcert certify $(SAMPLES)/digits_lip_mlp.onnx $(SAMPLES)/digits_test.npz $(EPS)
	@echo "An ordinary ReLU network on the same data:"
	@$(BIN)/lipcert certify $(SAMPLES)/digits_relu_mlp.onnx $(SAMPLES)/digits_test.npz $(EPS)

test: $(VENV)/.ready-dev
	$(BIN)/python -m pytest -n auto

lint: $(VENV)/.ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: test lint

bench: $(VENV)/.ready-dev
	$(BIN)/python benchmarks/dev_models.py
	$(BIN)/python benchmarks/convolutions.py
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/lipsdp.py
	$(BIN)/python benchmarks/sandwich.py
	$(BIN)/python benchmarks/streaming.py
	$(BIN)/python benchmarks/sensitivities.py
	$(BIN)/python benchmarks/gradients.py

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.ready: $(VENV)/bin/python setup.cfg pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,dev]'
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
