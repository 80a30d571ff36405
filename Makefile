# Modelyard: `make` lists what there is. The stack needs Docker, or else Python 3.11 to 3.13; tests need Python.
.DEFAULT_GOAL := help
SHELL := /bin/sh

WORKLOAD ?= california_housing
VENV := .venv
BIN := $(VENV)/bin
LOCKED := requirements/runtime.txt
LOCKED_DEV := requirements/dev.txt

# Chooses where the services run, in containers or embedded, and gives the command there.
LAUNCH = sh infra/launch.sh

# What is handed on goes through the environment, so that no quote or blank in it means anything to the shell.
export WORKLOAD DATA DATASET USE_DATASET_FROM_RUN STRICT ALLOW_INVALID DATASET_VERSION REFERENCE MODEL MODEL_TYPE PARAMS
export CONFIG RUN_NAME EXPERIMENT_NAME INLINE NO_WAIT TRAINERS SQL SERVICE TAIL FOLLOW AIRGAP VOLUMES YES OLDER_THAN KEEP
export POLICY POLICY_VERSION REASON EXPECTED EVALUATE DRY_RUN TO
export OF MERMAID AT UNSEEN_ROWS IN OUT OVERWRITE
export CANDIDATES WEIGHTS CHECK LIMIT
export QUEUE NAME REQUIREMENTS REMOVE NEW
HOW = $${INLINE:+--inline} $${NO_WAIT:+--no-wait}
VALUES = $${PARAMS:+--params "$$PARAMS"} $${CONFIG:+--config "$$CONFIG"}
PROCESS = $(LAUNCH) process "$$WORKLOAD" $${DATA:+--data "$$DATA"} \
	$${DATASET_VERSION:+--version "$$DATASET_VERSION"} $${ALLOW_INVALID:+--allow-invalid} $(VALUES) $(HOW) \
	$${QUEUE:+--queue "$$QUEUE"}
TRAIN = $(LAUNCH) train "$$WORKLOAD" $${DATA:+--data "$$DATA"} $${DATASET:+--dataset "$$DATASET"} \
	$${USE_DATASET_FROM_RUN:+--use-dataset-from-run "$$USE_DATASET_FROM_RUN"} $${STRICT:+--strict} \
	$${ALLOW_INVALID:+--allow-invalid} $${MODEL_TYPE:+--model-type "$$MODEL_TYPE"} $(VALUES) \
	$${RUN_NAME:+--run-name "$$RUN_NAME"} $${EXPERIMENT_NAME:+--experiment-name "$$EXPERIMENT_NAME"} $(HOW) \
	$${QUEUE:+--queue "$$QUEUE"}

ifdef STACK
export MODELYARD_STACK := $(STACK)
endif

.PHONY: help train process sweep blend reproduce drift evaluate promote rollback predict datasets lineage history served policies stages demo jobs gc reconcile up down status env psql doctor urls logs ps images worker workers workloads test test-fast check format lock wheel clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  make train WORKLOAD= MODEL_TYPE= PARAMS='max_depth=6 learning_rate=0.1' CONFIG= RUN_NAME= EXPERIMENT_NAME="
	@echo "  make train DATA=/any/file, or DATASET=NAME@VERSION, or USE_DATASET_FROM_RUN=RUN_ID; STRICT=1 never falls back to a file"
	@echo "  make process DATA=/any/file DATASET_VERSION=2025-01-03 PARAMS= CONFIG= ALLOW_INVALID=1 (for train too)"
	@echo "  make train QUEUE=vision (by the workers of make worker NAME=vision REQUIREMENTS=file)"
	@echo "  make train NO_WAIT=1 (queue it and return)   make train INLINE=1 (without the queue)   make up TRAINERS=2"
	@echo "  make up STACK=compose (Docker) or STACK=embedded (Python); without it what is here decides, and is told"
	@echo "  make logs SERVICE=trainer FOLLOW=1   make images AIRGAP=1 (without a registry)   make clean VOLUMES=1 (all that is stored)"

train: ## train and evaluate a workload, from raw data to a policy version
	@$(TRAIN)

process: ## make a workload's dataset and log it, without training
	@$(PROCESS)

sweep: ## train every combination on the same data, and rank them; MODEL_TYPE=a,b PARAMS='alpha=1,2 max_iter=50,100' BEST=1, or RESUME=ID
	@if [ -n "$$RESUME" ]; then $(LAUNCH) sweep --resume "$$RESUME" $${BEST:+--best}; \
		else $(LAUNCH) sweep "$$WORKLOAD" $${MODEL_TYPE:+--model-type "$$MODEL_TYPE"} $${PARAMS:+--params "$$PARAMS"} \
		$${DATA:+--data "$$DATA"} $${DATASET:+--dataset "$$DATASET"} \
		$${USE_DATASET_FROM_RUN:+--use-dataset-from-run "$$USE_DATASET_FROM_RUN"} \
		$${BEST:+--best} $${NO_WAIT:+--no-wait} $${QUEUE:+--queue "$$QUEUE"}; fi

blend: ## the trainings on one dataset as one model; DATASET=NAME@VERSION CANDIDATES=3 or RUN_ID,RUN_ID WEIGHTS=nnls, CHECK=1 LIMIT=1.1
	@$(LAUNCH) blend "$$WORKLOAD" $${DATASET:+--dataset "$$DATASET"} $${CANDIDATES:+--candidates "$$CANDIDATES"} \
		$${WEIGHTS:+--weights "$$WEIGHTS"} $${CHECK:+--check} $${LIMIT:+--limit "$$LIMIT"} $(HOW)

reproduce: ## train a model version anew, and say whether it comes out equal; MODEL=california_housing_model/3
	@$(LAUNCH) reproduce "$$MODEL" $(HOW)

drift: ## compare new data with a dataset, column by column; DATA=/any/file or DATASET=NAME, REFERENCE=NAME@VERSION
	@$(LAUNCH) drift "$$WORKLOAD" $${DATA:+--data "$$DATA"} $${DATASET:+--dataset "$$DATASET"} \
		$${REFERENCE:+--reference "$$REFERENCE"} $(VALUES) $(HOW)

evaluate: ## score a model version beside the live one; MODEL=california_housing_model/3, DATASET=NAME@VERSION, UNSEEN_ROWS=1
	@$(LAUNCH) evaluate "$$MODEL" $${DATASET:+--dataset "$$DATASET"} $${UNSEEN_ROWS:+--unseen-rows} $(HOW)

promote: ## put a policy's newest candidate in production; POLICY=planner_policy POLICY_VERSION= REASON= EXPECTED= EVALUATE=1 DRY_RUN=1
	@$(LAUNCH) promote "$$POLICY" $${POLICY_VERSION:+--version "$$POLICY_VERSION"} $${REASON:+--reason "$$REASON"} \
		$${EXPECTED:+--expected "$$EXPECTED"} $${EVALUATE:+--evaluate} $${DRY_RUN:+--dry-run}

rollback: ## put back what was live before; POLICY=planner_policy REASON=, TO=3 names a version, DRY_RUN=1
	@$(LAUNCH) rollback "$$POLICY" --reason "$$REASON" $${TO:+--to "$$TO"} $${EXPECTED:+--expected "$$EXPECTED"} \
		$${DRY_RUN:+--dry-run}

predict: ## a file of rows through a policy's model; POLICY=planner_policy (@4: that version) IN=rows.csv OUT=any.parquet OVERWRITE=1
	@$(LAUNCH) predict "$$POLICY" $${IN:+--in "$$IN"} $${OUT:+--out "$$OUT"} $${OVERWRITE:+--overwrite}

datasets: ## what was logged, the newest first; DATASET=california_housing@1.0.0 shows one, without a version the newest
	@if [ -n "$$DATASET" ]; then $(LAUNCH) datasets show "$$DATASET"; else $(LAUNCH) datasets list; fi

lineage: ## what something was made from and what came of it; OF=california_housing_model/3, OF=NAME@VERSION or a digest, MERMAID=1
	@$(LAUNCH) lineage "$$OF" $${MERMAID:+--mermaid}

history: ## who changed what is live, when, why and on what evidence; POLICY=california_housing_policy
	@$(LAUNCH) history "$$POLICY"

served: ## what was live from when until when; POLICY=california_housing_policy, AT=2026-03-03T14:05 for one moment
	@$(LAUNCH) served "$$POLICY" $${AT:+--at "$$AT"}

policies: ## every policy and what is live for it
	@$(LAUNCH) policies

stages: ## model versions and their stages; MODEL=california_housing_model for one model
	@$(LAUNCH) stages $${MODEL:+"$$MODEL"}

demo: ## the whole chain: two models, two promotions, a rollback, and what history says of it
	@sh infra/demo.sh

jobs: ## what waits, runs and has ended
	@$(LAUNCH) jobs list

gc: ## show what nothing refers to any more; OLDER_THAN=30d KEEP=1, and YES=1 deletes it
	@$(LAUNCH) gc $${OLDER_THAN:+--older-than "$$OLDER_THAN"} $${KEEP:+--keep "$$KEEP"} $${YES:+--yes}

reconcile: ## let MLflow show what is on record, and look for what it lost
	@$(LAUNCH) reconcile

up: ## start PostgreSQL, MLflow, a trainer and an evaluator
	@$(LAUNCH) up $${TRAINERS:+--trainers "$$TRAINERS"}

down: ## stop them; nothing is lost
	@$(LAUNCH) down

status: ## what runs, where, and how much memory it takes
	@$(LAUNCH) status

env: ## settings for a notebook: eval "$(make -s env)"
	@$(LAUNCH) env

psql: ## a prompt on the database; SQL='select …' prints the bare rows
	@$(LAUNCH) psql $${SQL:+--sql "$$SQL"}

doctor: ## check the surroundings and say what is wrong
	@$(LAUNCH) doctor

urls: ## where MLflow and the object store are, and how to read each password
	@$(LAUNCH) urls

logs: ## the services' last lines; SERVICE= FOLLOW=1 TAIL=1000
	@$(LAUNCH) logs $${FOLLOW:+--follow} $${SERVICE:+"$$SERVICE"}

ps: ## the stack's containers
	@$(LAUNCH) ps

images: ## build the stack's images; AIRGAP=1 without a registry
	@$(LAUNCH) images

worker: ## workers with further packages, which take the jobs of a queue of their own; NAME=vision REQUIREMENTS=file, or REMOVE=1
	@if [ -n "$$REMOVE" ]; then $(LAUNCH) workers remove "$$NAME"; \
		else $(LAUNCH) workers add "$$NAME" $${REQUIREMENTS:+--requirements "$$REQUIREMENTS"}; fi

workers: ## those there are
	@$(LAUNCH) workers list

workloads: ## which there are, with task, metric and data; NEW=flat_rents writes flat_rents.py to start from
	@$(LAUNCH) workloads $${NEW:+new "$$NEW"}

test: $(VENV)/dev.stamp ## the whole test suite
	@sh tests/run.sh $(BIN)/python

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

clean: ## remove the virtual environment and the caches; VOLUMES=1 also all that the containers' stack stores
	@$(LAUNCH) clean

$(VENV)/runtime.stamp: $(LOCKED) pyproject.toml
	@sh requirements/install.sh $(VENV) $(LOCKED)
	@touch $@

$(VENV)/dev.stamp: $(LOCKED_DEV) pyproject.toml
	@sh requirements/install.sh $(VENV) $(LOCKED_DEV)
	@touch $@ $(VENV)/runtime.stamp
