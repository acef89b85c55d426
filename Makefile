# `make study` and `make test` set up all they need on a fresh machine with Python >= 3.11, git and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STUDY ?= miniature

.PHONY: study test test-slow test-real bench simulations lint format clean

study: $(VENV)/installed
	@$(BIN)/transect run $(STUDY)

test: $(VENV)/installed
	$(BIN)/python -m pytest -m "not slow and not real" -n 2 --dist loadfile -q

test-slow: $(VENV)/installed
	$(BIN)/python -m pytest -m slow -q

# on real pretrained models: folders in hub layout (smollm2-135m, gemma3-270m) in the directory that TRANSECT_REAL_MODELS names
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

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Transect needs Python 3.11 or newer; this is $$($(PYTHON) --version). Set PYTHON=/path/to/python3.11." >&2; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "This Python cannot make virtual environments; install its venv package (on Debian: apt-get install python3-venv)." >&2; exit 2; }
	@echo "Installing into $(VENV): about 1.5 GB, 1 to 4 minutes."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade pip
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]" || { echo "A package could not be installed; pip's last lines above name it. Without a wheel for this machine, install a compiler (on Debian: apt-get install build-essential python3-dev) or another Python." >&2; exit 2; }
	@touch $@

clean:
	rm -rf $(VENV) results .snakemake bench/environments bench/material bench/tables
