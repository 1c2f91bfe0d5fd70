# Two commands need nothing but this file: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# How many test files run at once.
JOBS ?= 2
# Set CI=true to make a missing test server a failure instead of a skip.

.PHONY: setup setup-dev demo test coverage newest check docs bench clean

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
	tools/test_triton.sh $(BIN)/python
	$(BIN)/pytest -n $(JOBS) --dist loadfile $(ARGS)

# The tests with branch coverage: pure Python takes three quarters more CPU time.
coverage: setup-dev
	tools/test_servers.sh
	tools/test_peer.sh
	status=0; $(BIN)/coverage run -m pytest $(ARGS) || status=$$?; \
	$(BIN)/coverage report && exit $$status

# The tests except the slowest with the newest Python, where there is one.
newest:
	tools/test_newest.sh "$(VENV)"

check: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	tools/test_servers.sh
	tools/check_deploy.sh $(BIN)

# The pages, dashboards and rules that are made from code; tests compare them with it.
docs: setup-dev
	$(BIN)/python -m tools.configuration
	$(BIN)/python -m tools.commands
	$(BIN)/python -m tools.monitoring
	$(BIN)/python -m tools.figures
	$(BIN)/python -m tools.scorer_page

bench: setup-dev
	$(BIN)/python -m bench $(ARGS)

clean:
	rm -rf $(VENV) .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis demo-out
