# Every task of this project. `make` alone lists them.
#
# Needs Python 3.11 or newer and make; everything else is installed into .venv.
#   make demo PYTHON=python3.12     choose the interpreter
#   make test ARGS="-k pooling"     options for pytest

PYTHON ?= python3
VENV ?= .venv
OUT ?= out
ARGS ?=

PY := $(VENV)/bin/python
DEMO := $(VENV)/.installed-demo
DEV := $(VENV)/.installed-dev
BENCH := $(VENV)/.installed-bench
BATCH_1 := googlenet:1 resnet50:1 mobilenet:1 mobilenet_v2:1 squeezenet:1 vgg16:1

# Tests compute little at a time: more threads would mostly wait for each other.
test rules: export OPENBLAS_NUM_THREADS ?= 1
test rules: export NETSPEC_NUM_THREADS ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo test check format lint types generated rules gen docs bench interop \
        build clean distclean
.DELETE_ON_ERROR:

help:  ## list the tasks
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' Makefile

# Installing is tried three times: a network may fail for a moment.
define install
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; $(PYTHON) is older." \
	       "Name another one: make PYTHON=python3.12" >&2; exit 1; }
	@test -x $(PY) || $(PYTHON) -m venv $(VENV) \
	  || { rm -rf $(VENV); echo "'$(PYTHON) -m venv' failed; some systems keep it in" \
	       "a package of its own, such as python3-venv." >&2; exit 1; }
	@echo "Installing netspec[$(1)] into $(VENV) ..."
	@for attempt in 1 2 3; do \
	  $(PY) -m pip install --quiet --disable-pip-version-check --no-input \
	    --editable '.[$(1)]' && exit 0; \
	  echo "Installing failed (attempt $$attempt of 3)." >&2; sleep 5; \
	done; exit 1
	@touch $@
endef

$(DEMO): pyproject.toml
	$(call install,demo)

$(DEV): pyproject.toml
	$(call install,dev)
	@touch $(DEMO)

$(BENCH): pyproject.toml
	$(call install,bench)

demo: $(DEMO)  ## export LeNet, train it on handwritten digits, print where the files are
	$(PY) tools/demo.py --output $(OUT)

test: $(DEV)  ## the whole test suite
	$(PY) -m pytest -n auto --maxprocesses 8 --dist worksteal $(ARGS)

check: format lint types generated rules  ## format, lint, types, generated files, imports

format: $(DEV)
	$(PY) -m ruff format --check .

lint: $(DEV)
	$(PY) -m ruff check .

types: $(DEV)
	$(PY) -m mypy

generated: $(DEV)
	$(PY) tools/gen_schema.py --check
	$(PY) tools/gen_forks.py --check
	$(PY) tools/gen_layers.py --check
	$(PY) -m tools.gen_layer_index --check
	$(PY) tools/gen_models.py --check
	$(PY) -m tools.gen_gallery --check
	$(PY) tools/gen_gradients.py --check
	$(PY) -m tools.gen_solver --check
	$(PY) -m tools.gen_fork_table --check
	$(PY) -m tools.gen_notebooks --check
	$(PY) -m tools.interop --check

rules: $(DEV)
	$(PY) tools/import_graph.py
	$(PY) -m pytest -q tests/test_architecture.py

gen: $(DEV)  ## write the generated files again
	$(PY) tools/gen_schema.py
	$(PY) tools/gen_forks.py
	$(PY) tools/gen_layers.py
	$(PY) -m tools.gen_layer_index
	$(PY) tools/gen_models.py
	$(PY) -m tools.gen_gallery
	$(PY) tools/gen_gradients.py
	$(PY) -m tools.gen_solver
	$(PY) -m tools.gen_fork_table
	$(PY) -m tools.gen_notebooks
	$(PY) -m tools.interop --rules

docs: $(DEV)  ## build docs/_build/html; a warning is an error
	$(PY) -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

bench: $(BENCH)  ## compare with other engines; writes docs/performance.md
	$(PY) benchmarks/compare.py --memory googlenet resnet50 \
	  --write docs/performance.md $(ARGS)
	$(PY) benchmarks/compare.py --cpu --train --use $(BATCH_1) --name processor-time \
	  --write docs/performance.md
	$(PY) benchmarks/recurrent.py --write docs/performance.md
	$(PY) benchmarks/start_up.py --write docs/performance.md

interop: $(DEV)  ## run models and layers in other readers; writes docs/interop.md
	$(PY) -m tools.interop $(ARGS)

build: $(DEV)  ## build the wheel and the source archive into dist/
	$(PY) -m build

clean:  ## remove what the other tasks wrote
	rm -rf $(OUT) build dist docs/_build .mypy_cache .pytest_cache .ruff_cache .hypothesis

distclean: clean  ## remove the environment too
	rm -rf $(VENV)
