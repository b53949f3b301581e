"""Topic `forecasts`: what the models of ../forecasts.py reach, seed by seed, and histories.

Facts: `errors`: test errors of 15 seeds (Keras as it is), `errors_in_order`: the same with
the step counter of Adam read before it is written (see training.count_steps_last).
DATA=FOLDER says where airline-passengers.csv and nietzsche.txt are.
"""
import imp
import os

import keras

from .store import FOLDER, Store
from .training import count_steps_last

SEEDS = 15


def generate():
    forecasts = imp.load_source('forecasts_of_both', os.path.join(FOLDER, 'forecasts.py'))
    store = Store('forecasts')
    airline = os.path.join(os.environ['DATA'], 'airline-passengers.csv')
    for name in sorted(forecasts.MODELS):
        errors = [[forecasts.airline_error(keras, name, airline, seed, **options)
                   for seed in range(SEEDS)] for options in ({}, {'ready': count_steps_last})]
        print(name, errors)
        store.add(name, {'errors': errors[0], 'errors_in_order': errors[1]},
                  **forecasts.history(keras, name, airline, ready=count_steps_last))
    text = os.path.join(os.environ['DATA'], 'nietzsche.txt')
    losses = [forecasts.characters(keras, text, seed) for seed in range(3)]
    store.add('characters', {'losses': losses})
    store.write()
