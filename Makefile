# make demo   set everything up in .venv and reconstruct the example part
# make test   set everything up in .venv and run every check and test
# make docs   build the site into build/site, warnings being errors, and run the notebook
# Needs make and Python 3.10 to 3.13 with venv. Another interpreter: make test PYTHON=python3.12

PYTHON ?= python3
VENV ?= .venv
# PyTorch for the CPU is 200 MB, the default Linux build with CUDA is 3 GB. For that one:
# make demo TORCH_WHEELS=
TORCH_WHEELS ?= https://download.pytorch.org/whl/cpu/torch/

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
SETUP_FILES := pyproject.toml constraints.txt

.PHONY: demo test lint docs clean
.NOTPARALLEL:
.DELETE_ON_ERROR:

demo: $(VENV)/.ready-demo
	$(BIN)/cadwright reconstruct examples/bracket.stl --out demo_out
	@echo; echo "The results are in $(CURDIR)/demo_out:"; find demo_out -type f | sort

test: lint
	$(BIN)/pytest -q

lint: $(VENV)/.ready-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

docs: $(VENV)/.ready-test
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	$(BIN)/pytest -q -m '' tests/docs/test_notebook.py

clean:
	rm -rf $(VENV) demo_out build

# torch goes first and alone: --retries and --find-links are meant for its download only.
$(VENV)/.ready-torch: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 14))' \
		|| { echo "cadwright needs Python 3.10 to 3.13: make PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --no-deps --retries 1 -c constraints.txt torch \
		$(if $(TORCH_WHEELS),--find-links $(TORCH_WHEELS))
	@touch $@

$(VENV)/.ready-demo: $(SETUP_FILES) $(VENV)/.ready-torch
	$(PIP) install -e '.[all]' -c constraints.txt
	@touch $@

$(VENV)/.ready-test: $(SETUP_FILES) $(VENV)/.ready-torch
	$(PIP) install -e '.[all,dev,docs]' -c constraints.txt
	@touch $@ $(VENV)/.ready-demo
