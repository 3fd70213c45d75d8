# Everything a person needs: `make run` to use SOPHIA, `make test` and `make check` to change it.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
LOCKED := --require-hashes --only-binary=:all:

.PHONY: run setup setup-dev test check static format bench chaos faults docs snapshots lock clean

run: setup
	@$(BIN)/sophia

setup: $(VENV)/.run.stamp

setup-dev: $(VENV)/.dev.stamp

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "SOPHIA needs Python 3.11 or newer: apt-get install python3 python3-venv"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "SOPHIA needs Python 3.11 or newer; $(PYTHON) is older. Try: make PYTHON=python3.12 run"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "Python's venv module is missing: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run.stamp: requirements/run.txt pyproject.toml | $(BIN)/python
	$(PIP) install --quiet $(LOCKED) -r requirements/run.txt
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev.stamp: requirements/dev.txt $(VENV)/.run.stamp
	$(PIP) install --quiet $(LOCKED) -r requirements/dev.txt
	@touch $@

test: setup-dev
	@tools/system_packages.sh
	$(BIN)/python -m pytest -n 2 -q

# Format, lint, types, import contracts, secrets, generated pages; then the tests.
check: static test

static: setup-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m tools.secret_scan
	$(BIN)/python -m tools.generate_docs --check

format: setup-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Timed on purpose, never as part of the tests.
bench: setup-dev
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m benchmarks

# Thousands of questions while servers come and go: make chaos [SEED=7] [TURNS=1000]
chaos: setup-dev
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m benchmarks.chaos $(if $(SEED),--seed $(SEED)) $(if $(TURNS),--turns $(TURNS))

# Lets every fault happen once, and writes what came of it into docs/when-things-fail*.md.
faults: setup-dev
	$(BIN)/python -m tools.fault_matrix
	$(BIN)/python -m tools.store_faults

# Pictures of every screen at three sizes, as text: look at the difference before you keep it.
snapshots: setup-dev
	rm -rf tests/sophia_tui/snapshots
	SNAPSHOTS=1 $(BIN)/python -m pytest -n 2 -q tests/sophia_tui/test_screenshots.py -k it_looks

docs: setup-dev
	$(BIN)/python -m tools.generate_docs

# Locks hold versions and hashes, never addresses.
lock: setup-dev
	tools/lock.sh $(BIN)/uv

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
