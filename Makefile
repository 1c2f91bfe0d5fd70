# Two commands need nothing but this file: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# Set CI=true to make a missing test server a failure instead of a skip.

.PHONY: setup setup-dev demo test check bench clean

setup: $(VENV)/.runtime
setup-dev: $(VENV)/.dev

$(VENV)/.runtime: pyproject.toml
	tools/setup.sh "$(PYTHON)" "$(VENV)" runtime
	@touch $@

$(VENV)/.dev: pyproject.toml
	tools/setup.sh "$(PYTHON)" "$(VENV)" dev
	@touch $@ $(VENV)/.runtime

demo: setup
	$(BIN)/streamgate demo $(ARGS)

test: setup-dev
	tools/test_servers.sh
	tools/test_peer.sh
	tools/test_kafka.sh $(BIN)/python
	$(BIN)/pytest $(ARGS)

check: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	tools/test_servers.sh
	tools/check_deploy.sh $(BIN)

bench: setup-dev
	$(BIN)/python -m bench $(ARGS)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis demo-out
