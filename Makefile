# make repro   environment + the whole pipeline (the demo: minutes on two cores)
# make test    environment + lint, unit tests, static notebook checks, the smoke pipeline in a fresh clone, the guard
# make studies side studies of params.yaml: the same pipeline with other seeds or values (minutes each)
# make rehearse  the paper profile at full width on the miniature corpora: finds what is wrong with a set-up in minutes
# make lab     JupyterLab on the notebooks        make bench   benchmarks        make clean   remove the environment
# make book    all of it as a static site in docs/_build/html     make times   run times of the notebooks
# Needs only python3 (3.11 or newer), make and git.

PYTHON ?= python3
VENV   ?= .venv
BIN     = $(abspath $(VENV))/bin
UV      = 0.13.9
export PATH := $(BIN):$(PATH)
export PYTHONPATH := src
export PYTHONHASHSEED := 0

.PHONY: help environment repro studies decisions rehearse test lab bench book times clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# //p' Makefile

environment: $(VENV)/.ready

$(VENV)/.ready: requirements.lock
	@echo "== environment 1/3: virtual environment in $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "== environment 2/3: installer"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV)
	@echo "== environment 3/3: $$(grep -c == requirements.lock) pinned packages (several GB: PyTorch comes with CUDA), compiled once"
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements.lock
	@touch $@

repro: environment
	@echo "== dvc repro: every stage prints what it does; a second run does nothing"
	@dvc repro

test: environment
	@echo "== tests: lint, units, notebooks, then the smoke pipeline in a fresh clone (about ten minutes)"
	@ruff check src tests
	@lint-imports
	@echo "== assets for the tests"
	@dvc repro --quiet assets
	@python -m pytest

STUDIES = start_over_seeds head_std drop_path triplet_labels selection triplet_margin triplet_weight lnclip_pairing

decisions: studies  # the ledger of decisions reads their results

studies: environment
	@for study in $(STUDIES); do python -m deepfake_repro study $$study || exit 1; done

rehearse: environment
	@python -m deepfake_repro rehearse $(ROWS)

lab: environment
	@jupyter lab notebooks

bench: environment
	@python -m pytest tests/benchmarks -m bench -s

book: environment
	@echo "== book 1/2: lessons whose results are not in git (a minute, once for a state of code and results)"
	@python -m deepfake_repro.teaching.book
	@echo "== book 2/2: pages"
	@sphinx-build -q -W --keep-going -c docs -d docs/_build/doctrees . docs/_build/html
	@echo "open docs/_build/html/index.html; it needs no network"

times: environment
	@python -m deepfake_repro.teaching.times

clean:
	@rm -rf $(VENV)
