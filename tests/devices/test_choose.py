"""The choice of the device, from every environment that scripts are seen to set."""

import sys

import pytest

from gpukeras.devices.choose import choose, no_gpu
from gpukeras.errors import DeviceError


@pytest.fixture(autouse=True)
def nothing_wanted(monkeypatch):
    """Whatever device these tests themselves run on."""
    monkeypatch.delenv("GPUKERAS_DEVICE", raising=False)


def found():
    return ""


def absent():
    return "no usable NVIDIA driver"


@pytest.mark.parametrize("text, visible", [
    ("0", "0"), ("1,0", "1,0"), ("/gpu:0", "0"), ("/gpu:1,/gpu:3", "1,3"), ("gpu:2", "2"),
    ("/GPU:0", "0"), ("/device:GPU:1", "1"), (" 0 , 1 ", "0,1"), ("0,-1,1", "0"),
    ("GPU-8932f937-d72c", "GPU-8932f937-d72c")])
def test_visible_devices_are_rewritten_to_what_cuda_reads(text, visible):
    environ = {"CUDA_VISIBLE_DEVICES": text}
    assert choose(environ, found).name == "cuda"
    assert environ["CUDA_VISIBLE_DEVICES"] == visible


@pytest.mark.parametrize("text, reason", [
    ("", "lists no device"), ("-1", "lists no device"), ("-1,0", "lists no device"),
    ("none", "is not a list of devices"), ("0;1", "is not a list of devices"),
    ("/cpu:0", "is not a list of devices")])
def test_no_visible_device_means_the_cpu_and_says_why(text, reason):
    def probe():
        raise AssertionError("CUDA must not be asked")

    choice = choose({"CUDA_VISIBLE_DEVICES": text}, probe)
    assert choice.name == "cpu" and reason in choice.reason and "\n" not in str(choice)


def test_an_unset_list_leaves_the_environment_alone():
    environ = {}
    assert choose(environ, found).name == "cuda" and environ == {}
    assert choose(environ, absent).reason == "no usable NVIDIA driver"


@pytest.mark.parametrize("wanted, name", [("cpu", "cpu"), ("CPU", "cpu"), ("emu", "emu"),
                                          ("gpu", "cuda"), ("cuda", "cuda"), ("", "cuda")])
def test_a_named_device_wins(wanted, name):
    assert choose({"GPUKERAS_DEVICE": wanted}, found).name == name


def test_a_named_gpu_that_is_not_there_is_an_error():
    for environ in ({}, {"CUDA_VISIBLE_DEVICES": ""}):
        with pytest.raises(DeviceError, match="GPUKERAS_DEVICE=gpu, but there is no usable GPU"):
            choose({"GPUKERAS_DEVICE": "gpu", **environ}, absent)
    with pytest.raises(DeviceError, match="expected cpu, gpu, emu"):
        choose({"GPUKERAS_DEVICE": "tpu"}, found)


def test_without_cupy_the_reason_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert "pip install gpukeras[cuda13]" in no_gpu()
