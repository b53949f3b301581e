"""`device`: a test that asks for it runs on the host and on the emulated CUDA device."""
import pytest

from gpukeras import backend as K
from gpukeras import devices
from gpukeras.devices.choose import Choice


@pytest.fixture(params=["cpu", "emu"])
def device(request):
    before = devices.use(devices.make(Choice(request.param, "in a test")))
    K.clear_session()
    yield request.param
    K.clear_session()
    devices.use(before)
