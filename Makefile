# Everything is set up on first use: a virtual environment in .venv from the lock files, nothing outside this folder.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: run test check format lint types contracts bench chaos promql soak peers lock clean

run: $(VENV)/run  ## Set up, then run the agent without a configuration file
	@$(BIN)/nightjar run

test: $(VENV)/dev  ## Set up, then run the tests
	@$(BIN)/python -m pytest $(ARGS)

check: format lint types contracts test  ## All that a change must pass

format: $(VENV)/dev
	@$(BIN)/ruff format --check .

lint: $(VENV)/dev
	@$(BIN)/ruff check .

types: $(VENV)/dev
	@$(BIN)/mypy

contracts: $(VENV)/dev
	@$(BIN)/lint-imports

peers:  ## Fetch real servers (Prometheus, VictoriaMetrics, node_exporter) into .peers, from Debian
	@.ci/peers .peers

bench: $(VENV)/dev peers  ## Measure against the peers; results in docs/benchmarks.md
	@$(BIN)/python -m tests.bench

chaos: $(VENV)/dev  ## The long form of kills and corruptions: 200 rounds, 1,000 corruptions
	@NIGHTJAR_KILLS=200 NIGHTJAR_CORRUPTIONS=1000 $(BIN)/python -m pytest -m chaos --timeout=3600 -s tests/chaos $(ARGS)

promql: $(VENV)/dev peers  ## The long form of the comparison with Prometheus: 20,000 made-up expressions
	@NIGHTJAR_EXPRESSIONS=20000 $(BIN)/python -m pytest --timeout=3600 -s tests/servers/test_promql.py $(ARGS)

soak: $(VENV)/dev peers  ## An hour of idling beside the peers: memory, CPU, growth
	@$(BIN)/python -m tests.bench p7

lock:  ## Renew the lock files (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade \
	    --extra all pyproject.toml -o requirements.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade \
	    pyproject.toml --group dev -o requirements-dev.lock

clean:
	rm -rf $(VENV) .peers .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "Nightjar needs Python 3.11 or newer; try: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "setting up $(VENV) ..."
	@$(PYTHON) -m venv $(VENV) \
	    || { echo "this Python lacks its venv module; on Debian: apt install python3-venv" >&2; rm -rf $(VENV); exit 1; }

# The package itself is linked, not copied: a change of the code needs no new installation.
$(VENV)/run: $(VENV)/bin/python requirements.lock pyproject.toml
	@$(PIP) install --require-hashes -r requirements.lock
	@$(BIN)/python .ci/link
	@touch $@

$(VENV)/dev: $(VENV)/bin/python requirements-dev.lock pyproject.toml
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@$(BIN)/python .ci/link
	@touch $@ $(VENV)/run
