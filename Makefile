# make book    execute the chapters and build the site: _build/html/index.html
# make chapter NAME=isoflop  execute and render one page, or a few: _build/chapter/chapters/isoflop.html
# make test    run the tests, in TEST_JOBS processes: twice as many as cores, because many wait for processes of their own
# make check-site  open every page of the built site in a browser; make test opens a sample, at small sizes
# make validate  run the long checks: simulations, signals at random moments, every bad input (an hour or more)
# make fuzz    try every bad input on every command; into benchmarks/results/fuzz.json (a quarter of an hour)
# make gpu     on a machine with one: CUDA tests, step times and large runs, into _build/gpu (25 minutes, can be stopped)
# make dataset the recorded tables as an archive to deposit: _build/dataset/moelaws-runs.zip
# make sync    write chapters/*.ipynb from chapters/*.md
# make numbers write the numbers of the built book into the text of the notebooks, after make book
# make lint    formatting, style and types
# make handout the chapters as notebooks without answers, the answers by themselves, and the data: _build/handout
# make pdf     the built book as one file to print: _build/moelaws.pdf, linked from its front page (some minutes)
# make slides  slides of six lessons, with the figures of the built book: _build/slides/index.html
# make serve   look at the site on http://localhost:8000
# make clean   remove what was built (never needed for a right result)
#
# Needs Python >= 3.11, make and git; each target makes the environment in .venv first where it is missing or stale.
# On Linux, pip takes PyTorch with CUDA; PIP_EXTRA_INDEX_URL can point it to PyTorch's smaller builds for the CPU.

PYTHON ?= python3
NAME ?=
GPU_ARGS ?=
PROFILE ?= full
JOBS ?= 2
TEST_JOBS ?= 4
SITE ?= _build/html
VENV ?= .venv
EXTRAS ?= train,book,scale,parquet,export,dev
CONSTRAINTS ?= constraints.txt

BIN = $(VENV)/bin
STAMP = $(VENV)/.installed
# The environment is right when it was made from these files, whatever their dates are.
INPUTS = $$(cat $(CONSTRAINTS) pyproject.toml | cksum) $(EXTRAS)

# One thread a process: builds and tests run two processes, and matrices this small lose by being shared out.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1

.PHONY: book chapter test check-site validate fuzz gpu sync numbers handout pdf slides lint serve linkcheck clean setup dataset
.DEFAULT_GOAL := book

book: setup
	$(BIN)/python -m bookbuild build --profile $(PROFILE) --jobs $(JOBS)

chapter: setup
	$(BIN)/python -m bookbuild chapter $(NAME) --profile $(PROFILE)

# Some hundred processes of the tests import the library: byte code that none may write, each would make again.
test: export PYTHONDONTWRITEBYTECODE =
test: setup
	$(BIN)/python -m pytest --numprocesses $(TEST_JOBS) --dist loadgroup --no-loadscope-reorder $(PYTEST_ARGS)

check-site: setup
	$(BIN)/python -m pytest --site=$(SITE) $(PYTEST_ARGS)

validate: setup fuzz
	$(BIN)/python -m pytest -m validate $(PYTEST_ARGS)

fuzz: setup
	PYTHONPATH=tests $(BIN)/python -m fuzz --out benchmarks/results/fuzz.json

gpu: setup
	$(BIN)/python benchmarks/gpu.py $(GPU_ARGS)

dataset: setup
	$(BIN)/python -m bookbuild dataset

sync: setup
	$(BIN)/python -m bookbuild sync

numbers: setup
	$(BIN)/python -m bookbuild numbers --write chapters/numbers.json
	$(BIN)/python -m bookbuild sync

lint: setup
	$(BIN)/ruff format --check lib tests
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/python -m bookbuild sync --check

handout: setup
	$(BIN)/python -m bookbuild handout

pdf: book
	$(BIN)/python -m bookbuild pdf

slides: book
	$(BIN)/python -m bookbuild slides

linkcheck: setup
	$(BIN)/python -m bookbuild linkcheck --profile $(PROFILE) --jobs $(JOBS)

serve: book
	$(BIN)/python -m http.server --directory _build/html 8000

clean:
	rm -rf _build

setup:
	@if [ "$$(cat $(STAMP) 2>/dev/null)" != "$(INPUTS)" ] || ! $(BIN)/python -c 'import moelaws' 2>/dev/null; then \
	  set -e; \
	  $(PYTHON) -c 'import sys; v = sys.version.split()[0]; sys.exit(sys.version_info < (3, 11) and f"$(PYTHON) is Python {v}; moelaws needs 3.11 or newer: make PYTHON=python3.11 ...")'; \
	  echo "Making the environment in $(VENV) (some minutes, once)"; \
	  rm -f $(STAMP); \
	  [ -x $(BIN)/python ] && $(BIN)/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV); \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) -e ".[$(EXTRAS)]"; \
	  echo "$(INPUTS)" > $(STAMP); \
	fi
