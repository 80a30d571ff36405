# Modelyard: `make` lists what there is. Everything below needs make and Python 3.11 to 3.13 only.
.DEFAULT_GOAL := help
SHELL := /bin/sh

WORKLOAD ?= california_housing
VENV := .venv
BIN := $(VENV)/bin
LOCKED := requirements/runtime.txt
LOCKED_DEV := requirements/dev.txt

# What `make train` hands on goes through the environment, so that no quote or blank in it means anything to the shell.
export WORKLOAD DATA MODEL_TYPE PARAMS CONFIG RUN_NAME EXPERIMENT_NAME INLINE NO_WAIT TRAINERS SQL
HOW = $${INLINE:+--inline} $${NO_WAIT:+--no-wait}
PROCESS = $(BIN)/modelyard process "$$WORKLOAD" $${DATA:+--data "$$DATA"} $${PARAMS:+--params "$$PARAMS"} \
	$${CONFIG:+--config "$$CONFIG"} $(HOW)
TRAIN = $(BIN)/modelyard train "$$WORKLOAD" $${DATA:+--data "$$DATA"} $${MODEL_TYPE:+--model-type "$$MODEL_TYPE"} \
	$${PARAMS:+--params "$$PARAMS"} $${CONFIG:+--config "$$CONFIG"} \
	$${RUN_NAME:+--run-name "$$RUN_NAME"} $${EXPERIMENT_NAME:+--experiment-name "$$EXPERIMENT_NAME"} $(HOW)

ifdef STACK
export MODELYARD_STACK := $(STACK)
endif

.PHONY: help train process jobs up down status env psql doctor test test-fast check format lock wheel clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  make train WORKLOAD= DATA=/any/file MODEL_TYPE= PARAMS='max_depth=6 learning_rate=0.1' CONFIG= RUN_NAME= EXPERIMENT_NAME="
	@echo "  make train NO_WAIT=1 (queue it and return)   make train INLINE=1 (without the queue)   make up TRAINERS=2"

train: $(VENV)/runtime.stamp ## train and evaluate a workload, from raw data to a policy version
	@$(TRAIN)

process: $(VENV)/runtime.stamp ## make a workload's dataset and log it, without training
	@$(PROCESS)

jobs: $(VENV)/runtime.stamp ## what waits, runs and has ended
	@$(BIN)/modelyard jobs list

up: $(VENV)/runtime.stamp ## start PostgreSQL, MLflow, a trainer and an evaluator
	@$(BIN)/modelyard up $${TRAINERS:+--trainers "$$TRAINERS"}

down: $(VENV)/runtime.stamp ## stop them; nothing is lost
	@$(BIN)/modelyard down

status: $(VENV)/runtime.stamp ## what runs, where, and how much memory it takes
	@$(BIN)/modelyard status

env: $(VENV)/runtime.stamp ## settings for a notebook: eval "$(make -s env)"
	@$(BIN)/modelyard env

psql: $(VENV)/runtime.stamp ## a prompt on the database; SQL='select …' prints the bare rows
	@$(BIN)/modelyard psql $${SQL:+--sql "$$SQL"}

doctor: $(VENV)/runtime.stamp ## check the surroundings and say what is wrong
	@$(BIN)/modelyard doctor

test: $(VENV)/dev.stamp ## the whole test suite
	@$(BIN)/python -m pytest

test-fast: $(VENV)/dev.stamp ## what can be tested in under a minute
	@$(BIN)/python -m pytest tests/unit tests/contract -m "not slow and not browser"

check: $(VENV)/dev.stamp ## lint, types, who imports whom
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

format: $(VENV)/dev.stamp ## put the code in order
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

wheel: $(VENV)/dev.stamp ## build the wheel into dist/
	@$(BIN)/python -m build --wheel --no-isolation

lock: $(VENV)/dev.stamp ## renew the hashed locks
	@UV_CUSTOM_COMPILE_COMMAND="make lock" sh requirements/lock.sh

clean: ## remove the virtual environment and the caches (never the stack's folder)
	@rm -rf $(VENV) dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/runtime.stamp: $(LOCKED) pyproject.toml
	@sh requirements/install.sh $(VENV) $(LOCKED)
	@touch $@

$(VENV)/dev.stamp: $(LOCKED_DEV) pyproject.toml
	@sh requirements/install.sh $(VENV) $(LOCKED_DEV)
	@touch $@ $(VENV)/runtime.stamp
