# The commands of this repository. All but `clean` first run the set-up, which ends at once when nothing has changed.
SHELL := /bin/bash
RUN := source .ws/env.sh &&
ARGS ?=
VERSION ?= 5.17.0
MODEL_TESTS = test/test_model.py test/test_stock.py test/test_sizes.py test/test_toy_training.py
.PHONY: help setup demo test check transformers bench node clean

help:
	@echo "make demo    recorded scenes, six instructions, the real node over DDS; pictures and a page in out/demo"
	@echo "make test    all tests                                       (ARGS='-k words' passes options to pytest)"
	@echo "make check   lint, types and tests"
	@echo "make transformers   the model's tests with another transformers   (VERSION=5.17.0, the oldest that is supported)"
	@echo "make bench   milliseconds: instruction to grasp target, lifting and planning beside plain Open3D, the node itself"
	@echo "make node    the segmentation node                           (ARGS='--ros-args -r image:=/camera/image')"
	@echo "make setup   .venv and the message types, as the commands above do when needed"
	@echo "make clean   removes the built message types and out/, keeps .venv"

setup:
	@python3 tools/set_up.py

demo: setup
	@$(RUN) python demo/run_demo.py $(ARGS)

test: setup
	@$(RUN) python -m pytest $(ARGS)

check: setup
	@$(RUN) ruff check . && mypy && python -m pytest $(ARGS)

transformers: setup
	@$(RUN) python -m pip install --quiet --upgrade --target .ws/transformers-$(VERSION) transformers==$(VERSION)
	@$(RUN) PYTHONPATH=$(CURDIR)/.ws/transformers-$(VERSION):$$PYTHONPATH python -m pytest $(MODEL_TESTS) $(ARGS)

bench: setup
	@$(RUN) qwen-seg bench $(ARGS)

node: setup
	@$(RUN) scripts/segmentation_node $(ARGS)

clean:
	rm -rf .ws out
