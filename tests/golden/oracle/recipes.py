"""Topic `recipes`: what the programs of ../recipes.py give."""
import imp
import os

import numpy as np
import keras

from .store import FOLDER, Store


def generate():
    recipes = imp.load_source('recipes_of_both', os.path.join(FOLDER, 'recipes.py'))
    store = Store('recipes')
    for name, run in recipes.RECIPES.items():
        keras.backend.clear_session()
        result = run(keras)
        arrays = {k: np.asarray(v, 'float32') for k, v in result.items()
                  if not isinstance(v, list)}
        store.add(name, {k: v for k, v in result.items() if isinstance(v, list)}, **arrays)
    store.write()
