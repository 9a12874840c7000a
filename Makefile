# make repro   environment + the whole pipeline (the demo: minutes on two cores)
# make test    environment + lint, unit tests, static notebook checks, the smoke pipeline in a fresh clone, the guard;
#              then `make everywhere`, the subset, on each other supported Python found here, in its own environment
# make studies side studies of params.yaml: the same pipeline with other seeds or values (minutes each)
# make rehearse  the paper profile at full width on the miniature corpora: finds what is wrong with a set-up in minutes
# make lab     JupyterLab on the notebooks        make bench   benchmarks        make clean   remove the environment
# make app     score your own videos in the browser, on this machine only
# make book    all of it as a static site in docs/_build/html     make times   run times of the notebooks
# make lessons the lessons with their results, for git and the book (after make repro)
# make class   only what the lessons 00, 01, 04 and 07 need        make archive what all of them need, in one file
# With TORCH=cpu the environment has PyTorch without CUDA, with TORCH=none only what the lessons need that load none
# Needs only python3 (3.11 to 3.14), make and git; the folder may be a clone or an unpacked archive.

PYTHON ?= python3
VENV   ?= .venv
SUPPORTED = 3.11 3.12 3.13 3.14
# The folder's path may hold spaces, which $(abspath) and other functions over lists would split.
BIN     = $(if $(filter /%,$(VENV)),$(VENV),$(CURDIR)/$(VENV))/bin
UV      = 0.13.9
export PATH := $(BIN):$(PATH)
export PYTHONPATH := src
export PYTHONHASHSEED := 0

# Programs keep caches and settings in the home folder. Where it cannot be written to, this one takes its place.
ifneq ($(shell test -w "$$HOME" && echo writable),writable)
$(shell mkdir -p .scratch/home)
export HOME := $(CURDIR)/.scratch/home
endif

INTERPRETER = $(or $(wildcard $(VENV)/bin/python),$(PYTHON))
VERSION = $(shell '$(INTERPRETER)' -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
REFUSAL = $(INTERPRETER) $(if $(VERSION),is Python $(VERSION),does not run); needed is one of Python $(SUPPORTED): \
  make $(MAKECMDGOALS) PYTHON=... $(if $(wildcard $(VENV)/bin/python),(and remove $(VENV) first))

# The build of PyTorch: PyPI's, which on Linux has CUDA, or another such as cpu, or none. An environment keeps its own.
BUILD = $(or $(TORCH),$(shell cat $(VENV)/.ready 2>/dev/null))
OF_CUDA = ^(nvidia-|cuda-|triton==)

.PHONY: help environment repro class archive studies decisions rehearse test everywhere lab app bench lessons book times clean
.DEFAULT_GOAL := help

help:
	@sed -n '/^#/!q;s/^# //p' Makefile

# Without git history (an unpacked archive, also one inside a foreign repository) DVC works without git.
environment: $(VENV)/.ready
	@test -e .git || grep -qs no_scm .dvc/config.local || dvc config --local core.no_scm true
	@test ! -e .git || ! grep -qs no_scm .dvc/config.local || dvc config --local --unset core.no_scm
	@test '$(BUILD)' = "$$(cat $(VENV)/.ready 2>/dev/null)" \
	  || { echo "$(VENV) was made without TORCH=$(TORCH): make clean first" >&2; exit 2; }

$(VENV)/.ready: requirements.lock pyproject.toml
	$(if $(filter $(SUPPORTED),$(VERSION)),,$(error $(REFUSAL)))
	@echo "== environment 1/3: virtual environment in $(VENV) with Python $(VERSION)"
	@test -x $(VENV)/bin/python || '$(PYTHON)' -m venv $(VENV)
	@echo "== environment 2/3: installer"
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV)
	@echo "== environment 3/3: pinned packages ($(if $(BUILD),PyTorch: $(BUILD),several GB: PyTorch comes with CUDA)), compiled once"
	@grep --invert-match --extended-regexp '$(if $(BUILD),$(OF_CUDA),^$$)' requirements.lock > $(VENV)/requirements.txt
	@$(VENV)/bin/uv pip install --quiet --compile-bytecode --python $(VENV)/bin/python $(if $(filter none,$(BUILD)),\
	  --group lessons --constraint requirements.lock,\
	  $(if $(BUILD),--torch-backend=$(BUILD)) -r $(VENV)/requirements.txt)
	@$(VENV)/bin/uv pip install --quiet --no-deps --no-build-isolation --python $(VENV)/bin/python --editable .
	@echo '$(BUILD)' > $@
	@echo "== environment is ready; enter it with:  source $(VENV)/bin/activate  then:  deepfake-repro --help"

repro: environment
	@echo "== what could stop the run: deepfake-repro doctor --fast"
	@python -m deepfake_repro doctor --fast
	@echo "== the pipeline, $(or $(JOBS),one row a core) at a time; dvc repro gives the same results, one stage at a time"
	@python -m deepfake_repro repro $(if $(JOBS),--jobs $(JOBS))
	@echo "== verify: your results beside the committed ones; README.md keeps those, see deepfake-repro readme"
	@python -m deepfake_repro verify || true

test: environment
	@echo "== tests: lint, units, notebooks, then the smoke pipeline in a fresh clone (about ten minutes)"
	@ruff check src tests docs notebooks
	@ruff format --check src tests docs notebooks
	@lint-imports
	@mypy
	@echo "== assets for the tests"
	@dvc repro --quiet assets
	@python -m pytest --numprocesses 2 --no-loadscope-reorder
	@python tests/support/interpreters.py

everywhere: environment
	@echo "== the subset on $$(python --version), in $(VENV)"
	@python -m pytest -m everywhere

class: environment
	@dvc repro crops@demo-training crops@demo-unseen counts@demo

CLASS = data/assets data/corpora/demo data/corpora/demo.yaml data/index/demo data/crops/demo data/samples/demo \
  data/pretrained/demo results/demo/weights results/demo/predictions

archive:
	@mkdir -p .scratch
	@tar --create --gzip --dereference --file .scratch/class.tar.gz $(CLASS)
	@cd .scratch && sha256sum class.tar.gz | tee class.tar.gz.sha256

decisions: studies  # the ledger of decisions reads their results

studies: environment
	@python -m deepfake_repro study

rehearse: environment
	@python -m deepfake_repro rehearse $(ROWS)

lab: environment
	@jupyter lab notebooks --ServerApp.tornado_settings="{'websocket_max_message_size': 268435456}"

app: environment
	@deepfake-repro app

bench: environment
	@python -m pytest tests/benchmarks -m bench -s

lessons: environment
	@python -m deepfake_repro.teaching.book

book: environment
	@sphinx-build -q -W --keep-going -c docs -d docs/_build/doctrees . docs/_build/html
	@echo "open docs/_build/html/index.html; it needs no network"

times: environment
	@python -m deepfake_repro.teaching.times

clean:
	@rm -rf $(VENV) .venv-3.*
