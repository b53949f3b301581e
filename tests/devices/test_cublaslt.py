"""Products with epilogues through cuBLASLt, against a library that is column-major NumPy."""
import gc

import numpy as np
import pytest
from fake_cublaslt import FakeCublasLt

from gpukeras.devices import cublas, cublaslt
from gpukeras.devices.cublaslt import CublasLt
from gpukeras.devices.driver import GemmCall
from gpukeras.devices.emu import EmuDriver
from gpukeras.errors import DeviceError
from gpukeras.graph.halves import convert, numpy_dtype, plain
from gpukeras.ops.epilogue import mask_bytes
from gpukeras.ops.record import EPILOGUES, Gemm, In, Out

M, N, K = 6, 152, 5


def memory(driver, dtype, trans_a, trans_b):
    """a, b, c, bias and a mask on the device, the same at every call."""
    rng = np.random.default_rng(3)
    shapes = ((K, M) if trans_a else (M, K), (N, K) if trans_b else (K, N), (M, N), (N,))
    arrays = [convert(rng.standard_normal(s), numpy_dtype(dtype)) for s in shapes]
    mask = rng.integers(0, 256, (M, mask_bytes(N)), dtype=np.uint8)
    before = convert(rng.standard_normal((M, N)), numpy_dtype(dtype))
    return [driver.to_device(a) for a in (*arrays, mask, before)]


def aux_of(epilogue, mask, before):
    return before if epilogue.startswith("gelu") else mask


@pytest.mark.parametrize("dtype", cublaslt.TYPES)
@pytest.mark.parametrize("trans", [(False, False), (False, True), (True, False), (True, True)])
@pytest.mark.parametrize("epilogue", EPILOGUES)
def test_epilogues_are_those_of_the_emulated_device(epilogue, trans, dtype):
    driver, library, results = EmuDriver(), FakeCublasLt(), []
    lt = CublasLt(library, 1234, 5678)
    for bind in (driver.bind_gemm, lt.bind):
        a, b, c, bias, mask, before = memory(driver, dtype, *trans)
        bind(GemmCall(a, b, c, M, N, K, *trans, 1.0, 0.0, dtype=dtype, epilogue=epilogue,
                      bias=bias, aux=aux_of(epilogue, mask, before)))()
        bits = np.unpackbits(driver.download(mask), axis=1, bitorder="little")[:, :N]
        results.append([plain(driver.download(x)) for x in (c, bias, before)] + [bits])
    limit = {"float16": 1e-2, "bfloat16": 0.1}.get(dtype, 1e-5)
    for got, want in zip(results[1], results[0]):
        np.testing.assert_allclose(got, want, rtol=limit, atol=limit)
    assert library.calls == [(cublaslt.EPILOGUE[epilogue], cublas.COMPUTE_FLOAT32, 1234, 5678)]


def test_what_the_emulated_device_does_is_what_numpy_says():
    """Truth for the test above, for one type."""
    driver = EmuDriver()
    for epilogue in (e for e in EPILOGUES if not e.startswith("gelu")):
        a, b, c, bias, mask, _ = memory(driver, "float32", False, False)
        x, y, v = (driver.download(t).astype("f8") for t in (a, b, bias))
        old = np.unpackbits(driver.download(mask), axis=1, bitorder="little")[:, :N]
        driver.bind_gemm(GemmCall(a, b, c, M, N, K, epilogue=epilogue, bias=bias, aux=mask))()
        z = x @ y
        want = {"bias": z + v, "relu": np.maximum(z + v, 0), "relu mask": np.maximum(z + v, 0),
                "relu grad": z * old, "relu grad sums": z * old, "sums of b": z}[epilogue]
        sums = {"relu grad sums": (z * old).sum(0), "sums of b": y.sum(0)}.get(epilogue, v)
        np.testing.assert_allclose(driver.download(c), want, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(driver.download(bias), sums, rtol=1e-5, atol=1e-5)
        if epilogue == "relu mask":
            new = np.unpackbits(driver.download(mask), axis=1, bitorder="little")[:, :N]
            np.testing.assert_array_equal(new, z + v > 0)


@pytest.mark.parametrize("epilogue", [e for e in EPILOGUES if e.startswith("gelu")])
def test_gelus_of_the_emulated_device_are_torchs(epilogue):
    torch = pytest.importorskip("torch")
    driver = EmuDriver()
    a, b, c, bias, _, before = memory(driver, "float32", False, False)
    x, y, v, w = (torch.tensor(driver.download(t).astype("f8")) for t in (a, b, bias, before))
    driver.bind_gemm(GemmCall(a, b, c, M, N, K, epilogue=epilogue, bias=bias, aux=before))()
    z = x @ y
    if "grad" in epilogue:
        w.requires_grad_()
        torch.nn.functional.gelu(w, approximate="tanh").backward(z)
        want, sums = w.grad, w.grad.sum(0) if epilogue.endswith("sums") else v
    else:
        want, sums = torch.nn.functional.gelu(z + v, approximate="tanh"), v
    kept = z + v if epilogue == "gelu aux" else w.detach()
    for got, right in ((c, want), (bias, sums), (before, kept)):
        np.testing.assert_allclose(driver.download(got), right, rtol=1e-5, atol=1e-5)


def test_a_gelu_keeps_rows_that_the_library_can_align():
    driver = EmuDriver()
    a, b, c, bias, _, before = memory(driver, "float32", False, False)
    with pytest.raises(DeviceError, match="rows of 150 elements in aux, expected a multiple of 8"):
        driver.bind_gemm(GemmCall(a, b, c, M, 150, K, epilogue="gelu aux", bias=bias,
                                  aux=before))()


def gemm(**changes):
    return Gemm(**{**dict(a=In(0), b=In(1), c=Out(0), m=M, n=N, k=K, epilogue="relu"), **changes})


def test_algorithms_are_asked_for_once_and_refusals_are_remembered():
    library = FakeCublasLt(refuses={cublaslt.EPILOGUE["sums of b"]})
    lt = CublasLt(library, 0, 0)
    for _ in range(3):
        assert lt.knows(gemm(), "float32") and not lt.knows(gemm(epilogue="sums of b"), "float32")
    assert lt.knows(gemm(m=7), "float32") and lt.knows(gemm(), "tf32")
    assert library.asked == [6, 256, 6, 6]
    assert not lt.knows(gemm(dtype="float64"), "float32")
    assert not lt.knows(gemm(batch=2), "float32") and not lt.knows(gemm(epilogue=""), "float32")
    assert len(library.asked) == 4


def test_descriptors_are_freed_with_the_call():
    driver, library = EmuDriver(), FakeCublasLt()
    lt = CublasLt(library, 0, 0)
    a, b, c, bias, mask, before = memory(driver, "float32", False, False)
    call = lt.bind(GemmCall(a, b, c, M, N, K, epilogue="bias", bias=bias, math="tf32"))
    call()
    assert len(library.live) == 4 and library.calls[0][1] == cublas.COMPUTE_TF32
    del call
    gc.collect()
    assert not library.live
    lt.close()


def test_failures_are_named():
    driver = EmuDriver()
    a, b, c, bias, mask, before = memory(driver, "float32", False, False)
    call = GemmCall(a, b, c, M, N, K, epilogue="bias", bias=bias)
    with pytest.raises(DeviceError, match="cuBLASLt has no 'bias' for a product of float32, 6x152"):
        CublasLt(FakeCublasLt(refuses={4}), 0, 0).bind(call)
    library = FakeCublasLt()
    run = CublasLt(library, 0, 0)
    library.cublasLtMatmul = lambda *args: 13
    with pytest.raises(DeviceError, match="cublasLtMatmul: execution failed"):
        run.bind(call)()
    library.cublasLtCreate = lambda handle: 1
    with pytest.raises(DeviceError, match="cublasLtCreate: not initialised"):
        CublasLt(library, 0, 0)
    with pytest.raises(DeviceError, match="epilogue 'relu mask': got aux None"):
        driver.bind_gemm(GemmCall(a, b, c, M, N, K, epilogue="relu mask", bias=bias))()


def test_a_real_library_has_every_function_that_is_called():
    library = cublaslt.find_cublaslt()
    if library is None:
        pytest.skip("no cuBLASLt on this machine")
    for name in dir(FakeCublasLt):
        if name.startswith("cublasLt"):
            assert hasattr(library, name)
