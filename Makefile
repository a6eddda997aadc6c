# `make demo` and `make test` set up everything they need in .venv; all they ask for is Python 3.10 or later.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test test-share test-all lint docs power-cuts benchmark clean

demo: $(VENV)/core
	$(BIN)/secure-provision demo

# Half as many workers again as there are cores: a test of a board waits for it half of the time.
WORKERS = $(shell $(PYTHON) -c 'import os; print(3 * (os.cpu_count() or 1) // 2)')

test: $(VENV)/dev
	$(BIN)/pytest -q -n $(WORKERS) -m "not long"

# A part of the long tests, another each day: in four weeks all of them have run. `make test-share SHARE=3/28` runs the
# third of 28 parts.
SHARE ?= $(shell date +%j)/28
test-share: $(VENV)/dev
	$(BIN)/pytest -q -n $(WORKERS) -m long --long-share $(SHARE)

# In real Pythons only: those of `make test` have esptool, espefuse and the package loaded (tests/support/warm_python.py).
test-all: export SECURE_EXT_COLD_TESTS := 1
test-all: $(VENV)/dev
	$(BIN)/pytest -q -n auto -m long
	$(BIN)/nox -s esptool

lint: $(VENV)/dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/deptry .

# What is generated: the JSON Schemas, docs/errors.md, docs/doctor.
docs: $(VENV)/dev
	$(BIN)/python -m secure_ext.documents.json_schema
	$(BIN)/python tests/docs/error_pages.py
	PYTHONPATH=tests:tests/doctor $(BIN)/python tests/doctor/doctor_pages.py

power-cuts: $(VENV)/dev
	PYTHONPATH=tests:tests/rehearsal $(BIN)/python tests/rehearsal/all_power_cuts.py

benchmark: $(VENV)/dev
	$(BIN)/python benchmarks/flash_encryption.py
	$(BIN)/python benchmarks/bundle.py
	$(BIN)/python benchmarks/imports.py
	$(BIN)/python benchmarks/board_time.py

$(VENV)/core: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or later is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -e .
	touch $@

$(VENV)/dev: $(VENV)/core
	$(BIN)/pip install -q -e '.[dev,fast]'
	touch $@

clean:
	rm -rf $(VENV) .nox secure-demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
