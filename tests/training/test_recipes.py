"""Programs in the style of Keras 2 scripts give what they give with Keras 2.3.1."""
import numpy as np
import pytest

import gpukeras
from golden import reader
from golden.recipes import RECIPES
from gpukeras import backend as K

GOLDEN = reader.cases("recipes")


@pytest.mark.parametrize("name", RECIPES)
def test_recipe(name):
    K.clear_session()
    case = GOLDEN[name]
    result = RECIPES[name](gpukeras)
    for key, got in result.items():
        if isinstance(got, list):
            assert got == case.facts[key]
        else:
            want = case[key]
            np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-5, err_msg=key)
    names = {k[len(name) + 1:] for k in case._arrays if k.startswith(name + "/")}
    assert names | set(case.facts) == set(result)
