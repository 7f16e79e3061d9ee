# Everything a newcomer or a gate asks of this repository, with Python 3.11, pip and make only.
#
#   make demo                       train and predict on real images, then serve until Ctrl-C
#   DEMO_ONCE=1 make demo           the same, but end after the prediction
#   make test  ARGS="-k cancel"     the test suite (all arguments go to pytest)
#   make demo  TORCH_INDEX=URL      take torch from another package index (its CPU builds, say)
#   make serve ARGS="--port 8080"   the server with its embedded defaults
#   make test  PYTHON=/opt/py/bin/python3.11
#
# Two virtual environments: .venv for the demo and the server, .venv-test with the tools and the
# example plugins as well. Both hold a plain (not an editable) install, as a user has it: mypy
# needs one, and a module that setup.cfg forgets is missing in the tests too. Each target brings
# its environment up to date first, so what runs is what stands in the tree.

SHELL := /bin/sh
.DELETE_ON_ERROR:
.PHONY: help install demo serve test test-slow check bench constraints clean

# The first interpreter that is new enough and can make a virtual environment. It is run, not only
# looked up: version managers leave names on PATH that answer "not installed".
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3 python; do \
	"$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo "$$p"; break; }; done)

VENV := .venv
TEST_VENV := .venv-test
PIP_QUIET := --quiet --disable-pip-version-check --no-input
PIP_INSTALL := install $(PIP_QUIET)

ROOMS := api cli client models_plugin records schemas serving settings storage training web
GROUND := $(wildcard *.py) py.typed setup.cfg pyproject.toml README.md LICENSE
# Folders too: a removed or renamed file shows only in its folder's time stamp.
SOURCES := $(GROUND) $(shell find $(ROOMS) -name __pycache__ -prune -o -print)
EXAMPLES := $(sort $(patsubst %/,%,$(dir $(wildcard examples/*/pyproject.toml examples/*/setup.cfg))))
EXAMPLE_SOURCES := $(if $(EXAMPLES),$(shell find examples \( -name __pycache__ -o -name '*.egg-info' -o -name build \) \
	-prune -o -print))

help:
	@sed -n 's/^#  *\(make .*\|DEMO_ONCE.*\)/  \1/p' Makefile
	@echo "  also: install test-slow check bench constraints clean"

install: $(VENV)/.package

demo: $(VENV)/.package
	@$(VENV)/bin/modelyard demo $(ARGS)

serve: $(VENV)/.package
	$(VENV)/bin/modelyard serve $(ARGS)

# Several processes: tests wait for servers more than they compute. A file stays in one process, so
# that its server is started once; files in their order, since those with the fewest tests, which
# would come last, take the longest.
TEST_JOBS ?= 4
test: $(TEST_VENV)/.package $(TEST_VENV)/.examples
	$(TEST_VENV)/bin/pytest -m "not slow" -n $(TEST_JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

test-slow: $(TEST_VENV)/.package $(TEST_VENV)/.examples
	$(TEST_VENV)/bin/pytest -m slow $(ARGS) || [ $$? -eq 5 ]  # 5: none is marked so
	EXAMPLES=20 $(TEST_VENV)/bin/pytest -m "hypothesis and not slow" $(ARGS) || [ $$? -eq 5 ]

bench: $(TEST_VENV)/.package $(TEST_VENV)/.examples
	$(TEST_VENV)/bin/python benchmarks/run.py $(ARGS)

# Five checks, each a target of its own; `make -k check` goes on after one that fails.
.PHONY: check-style check-types check-arrows check-image check-pins
check: check-style check-types check-arrows check-image check-pins

check-style: $(TEST_VENV)/.package
	$(TEST_VENV)/bin/ruff check .
	$(TEST_VENV)/bin/ruff format --check .

# mypy runs inside the environment's folder: from the root it would take the tree's own folders for
# top-level packages, and the installed package with its py.typed is what users type-check against.
check-types: $(TEST_VENV)/.package
	cd $(TEST_VENV) && bin/mypy --config-file ../pyproject.toml --cache-dir ../.mypy_cache -p modelyard

check-arrows: $(TEST_VENV)/.package
	$(TEST_VENV)/bin/pytest tests/house/test_arrows.py

check-image: $(TEST_VENV)/.package
	$(TEST_VENV)/bin/hadolint Dockerfile

check-pins: $(TEST_VENV)/.package
	$(TEST_VENV)/bin/pip check --disable-pip-version-check

# The tested set, made anew from the ranges in setup.cfg: the newest of everything that fits.
# "+cpu" and the like go: the version is the same whichever index a build of torch comes from.
constraints: | python-found
	rm -rf .venv-constraints
	$(PYTHON) -m venv .venv-constraints
	.venv-constraints/bin/pip $(PIP_INSTALL) --upgrade setuptools
	.venv-constraints/bin/pip $(PIP_INSTALL) $(call torch,$(CONSTRAINTS_TORCH))
	@$(call copy_tree,.venv-constraints,$(SOURCES))
	.venv-constraints/bin/pip $(PIP_INSTALL) '.venv-constraints/tree[demo,dev]'
	{ echo "# The tested set, made by 'make constraints'. The ranges that a user gets are in setup.cfg."; \
	  .venv-constraints/bin/pip freeze --all --exclude modelyard --exclude pip \
	  | sed -e '/ @ file:/d' -e 's/+[a-z0-9.]*$$//' ; } > constraints.tmp
	mv constraints.tmp constraints.txt
	rm -rf .venv-constraints
CONSTRAINTS_TORCH := torch==2.13.0

clean:
	rm -rf $(VENV) $(TEST_VENV) .venv-constraints build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

# --- environments -----------------------------------------------------------------------------

.PHONY: python-found
python-found:
	@"$(or $(PYTHON),false)" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Modelyard needs Python 3.11 or newer with its venv module, and found none on PATH." >&2; \
	  echo "Debian and Ubuntu: apt-get install python3 python3-venv; or name one: make PYTHON=/path/to/python3.11" >&2; \
	  exit 1; }
	@[ "$$(uname -s)" = Linux ] || { \
	  echo "The server runs on Linux only; elsewhere use the client and the command line: pip install ." >&2; exit 1; }

# torch comes first and alone, so that TORCH_INDEX is asked for nothing else.
torch = $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(1)
PINNED_TORCH = $(shell sed -n '/^torch==/p' constraints.txt 2>/dev/null)

# A comma of its own would end an argument of $(call).
DEMO_AND_DEV := demo,dev

# An environment is made anew when the pins or the declared dependencies say something else: told
# by their content, since a checkout touches files without changing them.
DEPENDENCIES := { cat constraints.txt; sed -n '/^install_requires/,/^\[options.package_data/p' setup.cfg; }
STAMP := .environment-$(firstword $(shell $(DEPENDENCIES) 2>/dev/null | cksum))

# $(1) the environment's folder, $(2) the extras
define make_environment
	@echo "Installing packages into $(1), from constraints.txt: some minutes the first time (torch is large)"
	@rm -rf $(1)
	@$(PYTHON) -m venv $(1)
	@$(1)/bin/pip $(PIP_INSTALL) -c constraints.txt setuptools
	@$(1)/bin/pip $(PIP_INSTALL) $(call torch,$(PINNED_TORCH))
	@$(call copy_tree,$(1),$(SOURCES))
	@$(1)/bin/pip $(PIP_INSTALL) -c constraints.txt --no-build-isolation '$(1)/tree[$(2)]'
	@touch $@
endef

# Installs are made from a copy of the tree: pip builds in place, and what an earlier build left in
# build/lib would be shipped again although its source is gone.
copy_tree = rm -rf $(1)/tree && mkdir $(1)/tree && tar -cf - --no-recursion $(2) | tar -xf - -C $(1)/tree

$(VENV)/$(STAMP): | python-found
	$(call make_environment,$(VENV),demo)

$(TEST_VENV)/$(STAMP): | python-found
	$(call make_environment,$(TEST_VENV),$(DEMO_AND_DEV))

%/.package: %/$(STAMP) $(SOURCES)
	@$(call copy_tree,$*,$(SOURCES))
	@$*/bin/pip $(PIP_INSTALL) --no-deps --no-build-isolation --force-reinstall $*/tree
	@rm -rf $*/tree && touch $@

%/.examples: %/$(STAMP) $(EXAMPLE_SOURCES)
	@$(if $(EXAMPLES),$(call copy_tree,$*,$(EXAMPLE_SOURCES)))
	@$(if $(EXAMPLES),$*/bin/pip $(PIP_INSTALL) --no-deps --no-build-isolation --force-reinstall \
	  $(addprefix $*/tree/,$(EXAMPLES)))
	@rm -rf $*/tree && touch $@
