"""Where the generators put their facts: one .json and one .npz per topic."""
import json
import os

import numpy as np

FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def plain(value):
    """The same value from types that JSON knows."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return value.item()
    return value


class Store(object):
    """Cases of one topic: facts go to <topic>.json, arrays to <topic>.npz.

    The array `a` of case `c` has the key `c/a`; a list of arrays gives `c/a0`, `c/a1`, ...
    """

    def __init__(self, topic):
        self.topic = topic
        self.facts = {}
        self.arrays = {}

    def add(self, case, facts, **arrays):
        if case in self.facts:
            raise ValueError('two cases have the name ' + case)
        self.facts[case] = plain(facts)
        for name, value in arrays.items():
            if isinstance(value, (list, tuple)):
                for i, item in enumerate(value):
                    self.put('%s/%s%d' % (case, name, i), item)
            elif value is not None:
                self.put('%s/%s' % (case, name), value)

    def put(self, key, value):
        value = np.asarray(value)
        self.arrays[key] = value.astype('float32') if value.dtype == 'float64' else value

    def write(self):
        with open(os.path.join(FOLDER, self.topic + '.json'), 'w') as out:
            json.dump(self.facts, out, indent=1, sort_keys=True)
            out.write('\n')
        if self.arrays:
            np.savez_compressed(os.path.join(FOLDER, self.topic + '.npz'), **self.arrays)
        print('%-12s %3d cases, %d arrays' % (self.topic, len(self.facts), len(self.arrays)))


def jittered(weights, rng):
    """Weights unlike all defaults (zeros and ones hide mistakes); variances stay positive."""
    return [(w + rng.uniform(0.05, 0.4, w.shape)).astype(w.dtype) for w in weights]
