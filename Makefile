# The only interface for people and CI. `make help` lists what there is.
#   WARREN_PORT   the port people connect to (default 8080)
#   WARREN_LISTEN the address it listens on (default 127.0.0.1; any other one needs API keys)
#   WARREN_HOME   where everything lives (default: var/, and models/ for the models)

PYTHON := .venv/bin/python
LOCUST = .venv/bin/locust -f loadtests/locustfile.py --host $(or $(WARREN_URL),http://127.0.0.1:$(or $(WARREN_PORT),8080))
PACKAGES := api deploy model_store predictor tables trainer warren wire
CODE := $(PACKAGES) tests

.DEFAULT_GOAL := help
.PHONY: help up down status logs rabbitmqctl dead-letters key test test-quick test-large fuzz test-compose compose-roll faults chaos soak coverage lint format types docs check protos lock audit hooks clean bench protocols-bench workers-bench loadtest loadtest-ui mixed capacity bulk large-file

help: ## list what there is to do
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: ## install what is missing, start everything, and wait until it is ready
	@deploy/bootstrap native
	@$(PYTHON) -m deploy.native up

down: ## stop everything; no process and no port is left
	@if [ -x $(PYTHON) ]; then $(PYTHON) -m deploy.native down; else echo "Nothing is running."; fi

status: ## list every process with its pid and ports
	@test -x $(PYTHON) || { echo 'Nothing is installed yet: run make up.'; exit 1; }
	@$(PYTHON) -m deploy.native status

logs: ## follow the logs; `make logs process=trainer` for one of them
	@test -x $(PYTHON) || { echo 'Nothing is installed yet: run make up.'; exit 1; }
	@$(PYTHON) -m deploy.native logs $(process)

rabbitmqctl: ## ask the running broker; `make rabbitmqctl args='list_queues -p warren'`
	@test -x $(PYTHON) || { echo 'Nothing is installed yet: run make up.'; exit 1; }
	@$(PYTHON) -m deploy.native rabbitmqctl $(args)

dead-letters: ## list jobs that failed for good; `make dead-letters args='replay <job id>'` sends one again
	@test -x $(PYTHON) || { echo 'Nothing is installed yet: run make up.'; exit 1; }
	@$(PYTHON) -m deploy.native dead-letters $(args)

key: ## make, list or revoke API keys; `make key args='create --owner ann --scope train'`
	@deploy/bootstrap native >&2
	@$(PYTHON) -m deploy.native key $(args)

test: ## run all tests, on a RabbitMQ and an Nginx of their own
	@deploy/bootstrap dev
	$(PYTHON) -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(args)

test-quick: ## run the tests that need no broker
	@deploy/bootstrap dev
	$(PYTHON) -m pytest -q tests/unit $(args)

test-large: ## upload 500 MB to a stack of its own and see that no replica grows by it
	@deploy/bootstrap dev
	$(PYTHON) -m pytest tests/acceptance/test_large_upload.py --upload-mb=500 $(args)

fuzz: ## send every call of the API and of the Open Inference Protocol generated input (10 min)
	@deploy/bootstrap dev
	$(PYTHON) -m pytest tests/acceptance/test_openapi.py --examples=100 --timeout=900 $(args)

test-compose: ## build, start and break the Compose stack; needs a container engine with Compose
	@deploy/bootstrap dev
	@docker compose version >/dev/null || { echo 'Docker with Compose v2 is missing.'; exit 1; }
	$(PYTHON) -m pytest -m compose tests/compose $(args)

faults: ## kill, freeze and restart every process of two stacks of its own, under load (6 min)
	@deploy/bootstrap dev
	$(PYTHON) -m pytest -m faults -v -n 2 --dist loadgroup tests/faults $(args)

chaos: ## the same with every trial (hours; goes on where it stopped); one: `make chaos ONLY=F05`
	@deploy/bootstrap dev
	$(PYTHON) -m tests.faults chaos $(if $(ONLY),--only '$(ONLY)') $(args)

soak: ## an hour of load and jobs with a fault a minute; `make soak MINUTES=240`
	@deploy/bootstrap dev
	$(PYTHON) -m tests.faults soak --minutes $(or $(MINUTES),60) $(args)

coverage: ## run all tests, measured, and fail below the thresholds (half as long again as `make test`)
	@deploy/bootstrap dev
	$(PYTHON) -m coverage erase
	$(PYTHON) -m coverage run -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(args)
	@$(PYTHON) -m coverage combine --quiet || true
	$(PYTHON) -m coverage report --skip-covered --fail-under=95
	$(PYTHON) -m coverage report --skip-covered --include='wire/*,model_store/*' --fail-under=100

bench: ## measure Warren beside its peers (55 min; goes on where it stopped); a part: `make bench ONLY=forest/BentoML`
	@deploy/bootstrap dev
	@command -v wrk >/dev/null || { echo "wrk is missing: apt-get install wrk"; exit 1; }
	$(PYTHON) -m benchmarks.run $(if $(ONLY),--only '$(ONLY)') $(args)

protocols-bench: ## measure /predict, OIP as JSON, in binary and over gRPC in turn on a stack of its own (3 min)
	@deploy/bootstrap dev
	@command -v wrk >/dev/null || { echo "wrk is missing: apt-get install wrk"; exit 1; }
	@command -v h2load >/dev/null || { echo "h2load is missing: apt-get install nghttp2-client"; exit 1; }
	$(PYTHON) -m benchmarks.protocols $(args)

workers-bench: ## 1, 2 and 4 workers of Nginx and schedulers of the broker by turns on a stack of its own (3 min)
	@deploy/bootstrap dev
	@command -v wrk >/dev/null || { echo "wrk is missing: apt-get install wrk"; exit 1; }
	$(PYTHON) -m benchmarks.workers $(args)

loadtest: ## put Locust's mix on a running stack; `make loadtest SHAPE=burst`
	@deploy/bootstrap dev
	@mkdir -p var/loadtest
	$(LOCUST) --headless --only-summary --html var/loadtest/report.html --load-shape $(or $(SHAPE),steady) $(args)

loadtest-ui: ## the same with Locust's web page on http://127.0.0.1:8089
	@deploy/bootstrap dev
	$(LOCUST) --web-host 127.0.0.1 $(args)

mixed: ## 100,000 mixed predictions at 256 connections on a running stack, each compared with scikit-learn
	@deploy/bootstrap dev
	$(PYTHON) -m loadtests.mixed --url $(or $(WARREN_URL),http://127.0.0.1:$(or $(WARREN_PORT),8080)) $(args)

large-file: ## predict a file of 2,000,000 rows with the command on a running stack; compare each row with scikit-learn
	@deploy/bootstrap dev
	$(PYTHON) -m loadtests.large_file --url $(or $(WARREN_URL),http://127.0.0.1:$(or $(WARREN_PORT),8080)) $(args)

capacity: ## measure CPU per request on a stack of its own and rewrite the tables of docs/capacity.md (2 min)
	@deploy/bootstrap dev
	@command -v wrk >/dev/null || { echo "wrk is missing: apt-get install wrk"; exit 1; }
	$(PYTHON) -m loadtests.capacity $(args)

bulk: ## predict 2,000,000 rows under live load on a stack of its own: live p99 with and without, memory, rows/s (5 min)
	@deploy/bootstrap dev
	$(PYTHON) -m loadtests.bulk $(args)

compose-roll: ## replace running containers by new ones, one at a time; `make compose-roll services="api worker"`
	docker compose build
	python3 -m deploy.compose.roll $(services)

lint: ## check style and formatting
	@deploy/bootstrap dev
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

format: ## rewrite the code in the project's format
	@deploy/bootstrap dev
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

types: ## check the types
	@deploy/bootstrap dev
	$(PYTHON) -m mypy $(PACKAGES)

docs: ## write the pages and tables that are generated from code (some minutes)
	@deploy/bootstrap dev
	$(PYTHON) -m trainer.catalogue
	$(PYTHON) -m trainer.compile.trusted_types
	$(PYTHON) -m trainer.compile.report
	$(PYTHON) -m wire.settings_page

check: lint types ## lint, types, the house rules, and generated files up to date
	$(PYTHON) -m pytest -q -p no:cacheprovider tests/unit/test_import_rules.py \
		tests/unit/test_house_rules.py tests/unit/trainer/test_catalogue_file.py tests/unit/trainer/test_compile_pages.py
	$(PYTHON) -m wire.settings_page --check

protos: ## compile the messages of the gRPC protocol
	@deploy/bootstrap dev
	deploy/protos

lock: ## resolve the dependencies into requirements/ with versions and hashes
	@deploy/bootstrap dev
	deploy/lock

audit: ## ask PyPI which pinned packages have known vulnerabilities; `make audit args='--service osv'` asks OSV
	@deploy/bootstrap dev
	$(PYTHON) -m deploy.audit $(args)

hooks: ## run the checks before every commit
	@deploy/bootstrap dev
	$(PYTHON) -m pre_commit install

clean: ## remove what tests and tools left; models, jobs and data stay
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis htmlcov .coverage .coverage.*
	find $(CODE) -name __pycache__ -type d -exec rm -rf {} +
