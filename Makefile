# `make study` and `make test` set up all they need on a fresh machine with Python >= 3.11, git and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STUDY ?= miniature

TOOLS := $(VENV)/tools

.PHONY: study test test-slow test-real bench simulations lint format lock audit licences clean

study: $(VENV)/installed
	@$(BIN)/transect run $(STUDY)

test: $(VENV)/installed
	$(BIN)/python -m pytest -m "not slow and not real" -n 2 --dist loadfile -q

test-slow: $(VENV)/installed
	$(BIN)/python -m pytest -m slow -q

# on real pretrained models: folders in hub layout (smollm2-135m, gemma3-270m) in the directory that TRANSECT_REAL_MODELS names.
# BLiMP (TRANSECT_MIRROR) against float64: 600 pairs of the first, 120 of the second; TRANSECT_REAL_PAIRS=50 takes all of both (8 minutes more)
test-real: $(VENV)/installed
	$(BIN)/python -m pytest tests/real -m real -q --durations=5

# the peers' environments (6 GB, 3 minutes), then about half an hour alone on two cores; e.g. BENCH="--rounds 1 --pairs 100"
bench: $(VENV)/installed
	@$(BIN)/python -m bench.run $(BENCH)
	@$(BIN)/python -m bench.mixed_models

simulations: $(VENV)/installed
	@OMP_NUM_THREADS=1 $(BIN)/python -m simulations.run
	@OMP_NUM_THREADS=1 $(BIN)/python -m simulations.slope_cost

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow

# requirements.lock: the sha256 of every file that constraints.txt admits, but for torch and what its build brings, which differ by machine
lock: $(TOOLS)/installed
	echo 'torch; python_version < "3"' >$(TOOLS)/without_torch
	printf 'pip\nsympy\nnetworkx\n' >$(TOOLS)/also.in  # pip installs the rest; torch asks for the other two everywhere
	$(TOOLS)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --extra dev --constraint constraints.txt --override $(TOOLS)/without_torch pyproject.toml $(TOOLS)/also.in --output-file requirements.lock

# known faults of the pinned versions (osv.dev); a version that the database cannot look up fails too
audit: $(TOOLS)/installed
	$(TOOLS)/bin/pip-audit --strict --vulnerability-service osv --disable-pip --no-deps --requirement constraints.txt

licences: $(VENV)/installed $(TOOLS)/installed
	@$(TOOLS)/bin/pip-licenses --python $(BIN)/python --order license --format plain

$(TOOLS)/installed: $(VENV)/installed
	@$(PYTHON) -m venv $(TOOLS)
	@$(TOOLS)/bin/python -m pip install --quiet pip-audit==2.10.1 pip-licenses==5.5.5 uv==0.13.9
	@touch $@

$(VENV)/installed: pyproject.toml constraints.txt requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Transect needs Python 3.11 or newer; this is $$($(PYTHON) --version). Set PYTHON=/path/to/python3.11." >&2; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "This Python cannot make virtual environments; install its venv package (on Debian: apt-get install python3-venv)." >&2; exit 2; }
	@echo "Installing into $(VENV): about 1.5 GB, 1 to 4 minutes."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --require-hashes --no-deps --requirement requirements.lock && $(BIN)/python -m pip install --quiet --no-build-isolation --constraint constraints.txt --editable ".[dev]" || { echo "A package could not be installed; pip's last lines above name it. Without a wheel for this machine, install a compiler (on Debian: apt-get install build-essential python3-dev) or another Python." >&2; exit 2; }
	@touch $@

clean:
	rm -rf $(VENV) results .snakemake bench/environments bench/material bench/tables
