# make setup   .venv with the framesift command in it
# make demo    the whole pipeline on a rendered street, in under a minute
# make test    every test, but of some long lists a part (ARGS="..." goes to pytest)
# make exhaustive the rest of those lists: each seeded fault, each damage to a file, five times as many random examples; CI runs both
# make install the system service, as root: user, program, settings, unit; again: an upgrade (docs/deploy.md)
# make wheels  its requirements in a folder (WHEELS=wheels), for make install WHEELS=wheels without a network
# make uninstall what install made; PURGE=1 also settings and data
# make check   format, lint, strict types, import rules
# make pythons the wheel in clean environments of Python 3.10 to 3.13, with the quick part of the tests
# make coverage every test once more, much slower, with the branches of the package that they reach
# make platform a stand-in for the platform, to try the Roboflow sink without an account
# make torture long rigs: crash loops, power cuts, soaks
# make soak HOURS=8 FOLDER=soak    sixteen streams for hours, with faults; a second run with the same folder goes on
# make deaths FOLDER=deaths         1,000 kills, and one at each system call of a datapoint's life; goes on, too
# make bench   what a frame costs, beside the bare work (ARGS="--only ab" for some of it)
# make bench-learning how many labels each strategy needs, in ten minutes (FULL=1: the figures of docs/learning.md)
# make release VERSION=0.3.0      sdist, wheel, Debian package, SBOM, image and checksums in dist/0.3.0/; TAG=1 also makes the commit and the tag
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
INSTALL := $(PIP) install --require-hashes --no-deps -r

# More than cores: tests wait for cameras and deadlines. Six keep two cores busy; ten were no faster, since each reads all
# tests for itself, in 4 s, and has half a GiB of memory.
WORKERS ?= $(shell n=$$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN); echo $$((n > 4 ? 2 * n : 3 * n)))
# The folders of make test lie in memory where 4 GiB of it are free: a sixth of its time was waiting for the disk.
# What a disk does to files is tried by make exhaustive and make torture.
IN_MEMORY = $(shell df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 && $$4 > 4194304 {print "PYTEST_DEBUG_TEMPROOT=/dev/shm"}')
HOURS ?= 8
# Hundreds of tests start a process; without bytecode on the disk each would compile all of framesift anew.
unexport PYTHONDONTWRITEBYTECODE

INSTALLER = DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" WHEELS="$(WHEELS)" CV2="$(CV2)" PURGE="$(PURGE)" PYTHON="$(PYTHON)" scripts/install

.PHONY: setup setup-dev demo install wheels uninstall test exhaustive check pythons coverage platform torture soak deaths bench bench-learning release lock clean

setup: $(VENV)/.run
setup-dev: $(VENV)/.dev

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements/run.txt pyproject.toml | $(BIN)/python
	@echo "installing framesift into $(VENV)"
	@$(INSTALL) requirements/run.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.txt requirements/footage.txt requirements/networks.txt requirements/digits.txt $(VENV)/.run
	@echo "installing what the tests need"
	@$(INSTALL) requirements/dev.txt
	@$(INSTALL) requirements/footage.txt
	@$(INSTALL) requirements/digits.txt
	@$(INSTALL) requirements/networks.txt --ignore-requires-python
	@touch $@

demo: setup
	@$(BIN)/framesift demo

install:
	@$(INSTALLER) install

wheels:
	@$(INSTALLER) wheels "$(or $(WHEELS),wheels)"

uninstall:
	@$(INSTALLER) uninstall

test: setup-dev
	$(IN_MEMORY) $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not torture and not exhaustive" $(ARGS)

exhaustive: setup-dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "(exhaustive or hypothesis) and not torture" \
		--hypothesis-profile exhaustive $(ARGS)

check: setup-dev
	scripts/check

pythons: setup-dev
	$(BIN)/python scripts/test_wheel.py $(ARGS)

coverage: setup-dev
	$(BIN)/python -m coverage erase
	@$(BIN)/python -m coverage run -m pytest -n $(WORKERS) --dist worksteal -m "not torture" $(ARGS); \
	status=$$?; $(BIN)/python -m coverage combine --quiet && $(BIN)/python -m coverage report; exit $$status

platform: setup
	@PYTHONPATH=tests $(BIN)/python -m rigs.platform

torture: setup-dev
	$(BIN)/python -m pytest -n auto -m torture --timeout 1800

soak: setup-dev
	PYTHONPATH=tests $(BIN)/python -m rigs.soak --hours $(HOURS) --folder $(or $(FOLDER),soak) $(ARGS)

deaths: setup-dev
	PYTHONPATH=tests $(BIN)/python -m rigs.deaths --folder $(or $(FOLDER),deaths) $(ARGS)

bench: setup-dev
	PYTHONPATH=benchmarks $(BIN)/python -m price $(ARGS)

bench-learning: setup-dev
	PYTHONPATH=benchmarks OMP_NUM_THREADS=1 $(BIN)/python -m learning $(if $(FULL),--seeds 24 --out docs/learning) $(ARGS)

release: setup-dev
	@$(BIN)/python scripts/release.py "$(VERSION)" $(if $(TAG),--tag)

lock:
	scripts/lock

clean:
	rm -rf $(VENV)
