"""The mapping of row-major products to cuBLAS, against a library that is column-major NumPy."""

import numpy as np
import pytest
from fakes import FakeLibrary

from gpukeras.devices import cublas
from gpukeras.devices.cublas import Cublas
from gpukeras.devices.driver import GemmCall
from gpukeras.devices.emu import EmuDriver
from gpukeras.errors import DeviceError, KernelError
from gpukeras.graph.halves import convert, numpy_dtype, plain

@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("trans_a", [False, True])
@pytest.mark.parametrize("trans_b", [False, True])
def test_products_are_those_of_the_emulated_device(trans_a, trans_b, batch, dtype):
    rng, driver, library = np.random.default_rng(5), EmuDriver(), FakeLibrary()
    m, n, k = 4, 6, 5
    a, b, c = (convert(rng.normal(size=(batch, *s)), numpy_dtype(dtype))
               for s in ((k, m + 2) if trans_a else (m, k + 1), (n, k) if trans_b else (k, n + 3),
                         (m, n + 1)))
    results = []
    for bind in (driver.bind_gemm, Cublas(library, 0, 0).bind):
        da, db, dc = map(driver.to_device, (a, b, c))
        bind(GemmCall(da, db, dc, m, n, k, trans_a, trans_b, 2.0, 0.5, batch, a[0].size, b[0].size,
                      c[0].size, dtype, a.shape[2], b.shape[2], c.shape[2]))()
        results.append(plain(driver.download(dc)))
    tolerance = {"float16": 2e-2, "bfloat16": 0.2}.get(dtype, 1e-5)
    np.testing.assert_allclose(results[1], results[0], rtol=tolerance, atol=tolerance)
    compute = cublas.COMPUTE_FLOAT64 if dtype == "float64" else cublas.COMPUTE_FLOAT32
    assert library.calls == [compute]


def test_stream_workspace_and_math_reach_the_library():
    library, driver = FakeLibrary(), EmuDriver()
    blas = Cublas(library, 1234, 5678)
    assert library.stream == 1234 and library.workspace == (5678, cublas.WORKSPACE_BYTES)
    x = driver.to_device(np.eye(2, dtype="f4"))
    blas.bind(GemmCall(x, x, driver.empty((2, 2), "f4"), 2, 2, 2, math="tf32"))()
    assert library.calls == [cublas.COMPUTE_TF32]
    blas.close()


def test_failures_are_named():
    library, driver = FakeLibrary(), EmuDriver()
    x = driver.to_device(np.eye(2, dtype="f4"))
    with pytest.raises(KernelError, match="expected one of float32"):
        Cublas(library, 0, 0).bind(GemmCall(x, x, x, 1, 1, 1, dtype="int8"))
    library.cublasGemmEx = lambda *args: 13
    with pytest.raises(DeviceError, match="cublasGemmEx: execution failed"):
        Cublas(library, 0, 0).bind(GemmCall(x, x, x, 2, 2, 2))()
    library.cublasCreate_v2 = lambda handle: 1
    with pytest.raises(DeviceError, match="cublasCreate_v2: not initialised"):
        Cublas(library, 0, 0)


def test_a_real_library_has_every_function_that_is_called():
    library = cublas.find_cublas()
    if library is None:
        pytest.skip("no cuBLAS on this machine")
    for name in ("cublasCreate_v2", "cublasDestroy_v2", "cublasSetStream_v2",
                 "cublasSetWorkspace_v2", "cublasGemmEx", "cublasGemmStridedBatchedEx"):
        assert hasattr(library, name)


def test_tf32_rounds_the_operands_on_the_emulated_device():
    rng, driver = np.random.default_rng(6), EmuDriver()
    a, b = rng.normal(size=(5, 64)).astype("f4"), rng.normal(size=(64, 3)).astype("f4")
    results = {}
    for math in ("float32", "tf32"):
        c = driver.empty((5, 3), "f4")
        driver.gemm(driver.to_device(a), driver.to_device(b), c, 5, 3, 64, math=math)
        results[math] = driver.download(c).astype("f8")
    exact = a.astype("f8") @ b
    error = {math: np.abs(c - exact).max() / np.abs(exact).max() for math, c in results.items()}
    assert error["float32"] < 1e-6 and 1e-5 < error["tf32"] < 2 ** -10
