# make serve: set up, train the embedded demo if models/ has no bundle, serve on port 3000.
# make test: set up, run all tests.      make check: lint, format, strict types.

PYTHON ?= python3
DEVICE ?= $(shell nvidia-smi >/dev/null 2>&1 && echo gpu || echo cpu)
PORT ?= 3000
WORKERS ?= 1
MODEL ?=

BIN := .venv/bin

.PHONY: serve test check
.DEFAULT_GOAL := test

serve: .venv/ready
	@ls models/*/latest >/dev/null 2>&1 || [ -n "$(MODEL)" ] || $(BIN)/python -m training run digits
	@exec $(BIN)/python -m service --port $(PORT) --workers $(WORKERS) $(if $(MODEL),--model $(MODEL))

test: .venv/ready
	$(BIN)/python -m pytest

check: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/ready: pyproject.toml constraints.txt
	@echo "setting up .venv; this takes a few minutes"
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[training,test,$(DEVICE)]'
	@touch $@
