"""The mapping of row-major products to cuBLAS, against a library that is column-major NumPy."""

import numpy as np
import pytest
from fakes import FakeLibrary

from gpukeras.devices import cublas
from gpukeras.devices.cublas import Cublas
from gpukeras.devices.driver import GemmCall
from gpukeras.devices.emu import EmuDriver
from gpukeras.errors import DeviceError, KernelError

@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("trans_a", [False, True])
@pytest.mark.parametrize("trans_b", [False, True])
def test_products_are_those_of_the_emulated_device(trans_a, trans_b, batch, dtype):
    rng, driver, library = np.random.default_rng(5), EmuDriver(), FakeLibrary()
    m, n, k = 4, 6, 5
    a, b, c = (rng.normal(size=(batch, *s)).astype(dtype)
               for s in ((k, m + 2) if trans_a else (m, k + 1), (n, k) if trans_b else (k, n + 3),
                         (m, n + 1)))
    results = []
    for bind in (driver.bind_gemm, Cublas(library, 0, 0).bind):
        da, db, dc = map(driver.to_device, (a, b, c))
        bind(GemmCall(da, db, dc, m, n, k, trans_a, trans_b, 2.0, 0.5, batch, a[0].size, b[0].size,
                      c[0].size, dtype, a.shape[2], b.shape[2], c.shape[2]))()
        results.append(driver.download(dc))
    tolerance = 2e-2 if dtype == "float16" else 1e-5
    np.testing.assert_allclose(results[1], results[0], rtol=tolerance, atol=tolerance)
    compute = cublas.COMPUTE_FLOAT64 if dtype == "float64" else cublas.COMPUTE_FLOAT32
    assert library.calls == [compute]


def test_stream_workspace_and_precision_reach_the_library():
    library, driver = FakeLibrary(), EmuDriver()
    blas = Cublas(library, 1234, 5678, precision="tf32")
    assert library.stream == 1234 and library.workspace == (5678, cublas.WORKSPACE_BYTES)
    x = driver.to_device(np.eye(2, dtype="f4"))
    blas.bind(GemmCall(x, x, driver.empty((2, 2), "f4"), 2, 2, 2))()
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
