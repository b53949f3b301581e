"""Read the golden files: `cases("layers")` gives name -> Case."""
import functools
import json
import os

import numpy as np

FOLDER = os.path.dirname(os.path.abspath(__file__))


class Case:
    """One golden case: `facts` (from JSON) and arrays (`case["x"]`, `case.list("w")`)."""

    def __init__(self, name, facts, arrays):
        self.name = name
        self.facts = facts
        self._arrays = arrays

    def __getitem__(self, name):
        return self._arrays[f"{self.name}/{name}"]

    def __contains__(self, name):
        return f"{self.name}/{name}" in self._arrays

    def list(self, name):
        """The arrays `name0`, `name1`, ... in order."""
        found = []
        while f"{name}{len(found)}" in self:
            found.append(self[f"{name}{len(found)}"])
        return found

    def __repr__(self):
        return f"Case({self.name})"


@functools.lru_cache(maxsize=None)
def cases(topic):
    """All cases of a topic, name -> Case."""
    with open(os.path.join(FOLDER, topic + ".json"), encoding="utf-8") as file:
        facts = json.load(file)
    arrays = {}
    path = os.path.join(FOLDER, topic + ".npz")
    if os.path.exists(path):
        with np.load(path) as stored:
            arrays = {key: stored[key] for key in stored.files}
    return {name: Case(name, fact, arrays) for name, fact in facts.items()}


def path(name):
    """Full path of a golden file, such as an .h5 model."""
    return os.path.join(FOLDER, name)
