# make train    train a CNN on handwritten digits: accuracy, digits.h5, two pictures
# make test     the tests that need no GPU
# make help     the rest
PYTHON ?= python3
PY ?= .venv/bin/python
K ?=
RESULTS ?= benchmarks/results
MATH ?= float32

# another Python than that of .venv is taken as it is: nothing is made or downloaded
ifeq ($(PY),.venv/bin/python)
READY = .venv/ready
DEV = .venv/dev
else
export PYTHONPATH := $(CURDIR)$(if $(PYTHONPATH),:$(PYTHONPATH))
endif

# tests that have nothing to do on a GPU are left out; processes share the GPU and the compiled kernels
ON_GPU = -m "not slow and not long" $(addprefix --ignore tests/,host safety test_house.py \
	test_install.py kernels/test_compile.py kernels/test_emulator.py parallel/test_hvd.py \
	parallel/test_scaling.py)
SEVERAL = import xdist; print('-n auto --maxprocesses 8 --dist worksteal')
T ?= tests/ops tests/layers tests/models

.PHONY: help train test test-long test-gpu rehearse-gpu bench bench-gpu kernel house sizes clean

help:
	@echo "make train            train a CNN on handwritten digits; writes digits.h5 and pictures"
	@echo "make test             tests that need no GPU (15 minutes at most on 2 cores)"
	@echo "make test-long        1,000 kills while saving and 10,000 broken files (about 15 minutes)"
	@echo "make test-gpu         tests on the GPU: needs an NVIDIA GPU and driver (CUDA 12 or newer)"
	@echo "make rehearse-gpu     the same without a GPU, on the emulator: T=tests/models (hours for all)"
	@echo "make bench            CPU benchmark against torch, tf_keras and Keras 3, if installed"
	@echo "make bench-gpu        GPU benchmark: needs an NVIDIA GPU and driver, and torch to compare with"
	@echo "make kernel K=NAME    checks of one CUDA kernel or kernel file; on a GPU also its speed"
	@echo "make house            checks of the house rules (sizes, floors, records)"
	@echo "make sizes            lines per file"
	@echo "make clean            remove .venv and what was built"
	@echo "PYTHON=python3.12     Python for .venv (3.10 or newer)"
	@echo "PY=python3            this Python with what it has installed, instead of .venv"
	@echo "RESULTS=FOLDER        where benchmarks write (benchmarks/results)"
	@echo "MATH=tf32,bfloat16    precision of bench-gpu (float32)"

train: $(READY)
	$(PY) examples/digits_cnn.py

test: $(DEV)
	$(PY) -m pytest -m "not gpu and not long" -n auto --maxprocesses 4 --dist loadfile

test-long: $(DEV)
	$(PY) -m pytest -m long

test-gpu: $(DEV)
	@$(PY) tools/need_gpu.py "make test-gpu" pytest
	GPUKERAS_DEVICE=gpu $(PY) -m pytest $(ON_GPU) $$($(PY) -c "$(SEVERAL)" 2>/dev/null)

# the same over a stand-in for CuPy, whose kernels the emulator plays: T=tests/models, say
rehearse-gpu: $(DEV)
	GPUKERAS_DEVICE=gpu PYTHONPATH=tests:tests/kernels:tests/devices:$(CURDIR) \
		$(PY) -m pytest -p gpu_stand_in $(ON_GPU) $(T)

bench: $(DEV)
	$(PY) benchmarks/compile_time.py
	$(PY) benchmarks/fit.py --results $(RESULTS)

bench-gpu: $(READY)
	@$(PY) tools/need_gpu.py "make bench-gpu"
	$(PY) benchmarks/gpu_probe.py --results $(RESULTS)
	$(PY) benchmarks/fit.py --device gpu --math $(MATH) --results $(RESULTS)

kernel: $(DEV)
	@test -n "$(K)" || { echo "say which kernel: make kernel K=softmax"; exit 2; }
	$(PY) -m pytest tests/kernels -v -k "$(K)"
	$(PY) benchmarks/kernels.py "$(K)"

house: $(DEV)
	$(PY) -m pytest tests/test_house.py

sizes:
	@$(PYTHON) tools/sizes.py

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache

.venv/dev: .venv/ready
	$(PY) tools/make_venv.py --add-tests .venv

.venv/ready: setup.cfg setup.py pyproject.toml tools/make_venv.py
	$(PYTHON) tools/make_venv.py .venv
