# make demo · make test · make lint; each sets up what it needs in .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
OUT    ?= out/$(if $(FROM_SCRATCH),demo_from_scratch,demo)
STAMP  := $(VENV)/.installed

.PHONY: demo test lint setup docs clean

demo: setup
	$(BIN)/activemimic demo --out $(OUT) $(if $(FROM_SCRATCH),--from-scratch)

test: setup
	$(BIN)/python -m pytest -n 2 tests/unit
	$(BIN)/python -m pytest tests/integration tests/end_to_end  # in real time: one after the other

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

setup: $(STAMP)

$(STAMP): setup.sh constraints.txt requirements.txt requirements-ros.txt
	PYTHON=$(PYTHON) VENV=$(VENV) ./setup.sh
	touch $@

docs: setup
	$(BIN)/python docs/generate.py

clean:
	rm -rf $(VENV) out ros2_ws/build ros2_ws/install ros2_ws/log
