# `make demo` and `make test` work from a fresh clone: each makes .venv, installs and runs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export MMU_REAL_DATA ?= $(abspath ../shared/realdata)
# Array libraries on one thread each: N processes then use N cores.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1
# The theme's advertisement of its successor.
export NO_MKDOCS_2_WARNING := 1
# For the tests; any torch from 2.11 on will do.
TORCH ?= torch==2.13.0

.PHONY: demo test check docs docs-serve bench soak gpu reliability clean install

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[test,plot,docs]' '$(TORCH)'
	touch $@

demo: install  ## Build every survey of the simulated sky, check them, load them, draw them
	rm -rf demo-output
	$(BIN)/mmu demo --out demo-output

test: install  ## The whole test suite
	$(BIN)/python -m pytest -q -n 2 --dist loadfile

check: install  ## Style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_architecture.py

docs: install  ## The site, into site/; any warning is an error
	$(BIN)/mkdocs build --strict --quiet

docs-serve: install  ## The site while you write it, at http://127.0.0.1:8000/
	$(BIN)/mkdocs serve

reliability: install  ## Every fault, 200 kills, thousands of bad files; writes docs/reliability.md (over an hour)
	for tests in tests/reliability/test_*.py; do \
		$(BIN)/python -m pytest -q $$tests --thorough --report docs/reliability.md || exit 1; \
	done

bench: install  ## Objects per second against the floor and the obvious way, in one run
	$(BIN)/python tests/benchmarks/bench_legacysurvey.py
	$(BIN)/python tests/benchmarks/bench_desi.py
	$(BIN)/python tests/benchmarks/bench_build.py
	$(BIN)/python tests/benchmarks/bench_surveys.py
	$(BIN)/python tests/benchmarks/bench_crossmatch.py --scaling
	$(BIN)/python tests/benchmarks/bench_stream.py
	$(BIN)/python tests/benchmarks/bench_training.py

soak: install  ## Ten minutes of streaming: memory stays what it is
	$(BIN)/python tests/benchmarks/soak_stream.py

gpu: install  ## Share of a GPU's peak in training, then steps on the stream against ones on a batch that is there
	$(BIN)/python tests/benchmarks/gpu_training.py
	$(BIN)/python tests/benchmarks/gpu_stream.py

clean:
	rm -rf $(VENV) demo-output bench-output site
