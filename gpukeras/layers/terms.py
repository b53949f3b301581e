"""Losses and updates that layers add to the models they are part of."""
from contextlib import contextmanager

from ..graph import Variable
from ..utils.generic_utils import is_all_none, to_list

frames = []                                        # (layer, inputs) of the calls going on
_quiet = False                                     # nothing is recorded


class Term:
    """A loss or an update: its value, the inputs it depends on, the layers from its maker on."""

    __slots__ = ("value", "inputs", "chain")

    def __init__(self, value, inputs, chain):
        self.value, self.inputs, self.chain = value, inputs, chain

    def is_live(self):
        """False for an update that a frozen layer hides."""
        return all(layer.trainable or layer.stateful for layer in self.chain)


class Terms:
    """The part of a layer that keeps its losses and updates, each with the inputs it belongs to.

    A term of a call made inside another layer's call belongs to the outer layer too, there with the
    outer call's inputs: so a model knows what its layers add when it is itself called.
    """

    def add_loss(self, losses, inputs=None):
        """Add terms to the loss of every model that holds this layer.

        # Arguments
            losses: scalar tensor or list of them; None is ignored.
            inputs: the tensors a term depends on, None if it depends on weights only.
        """
        self._record("_losses", losses, inputs)

    def add_update(self, updates, inputs=None):
        """Add updates, (variable, new value) as of `K.update`, to be made after each training step.

        inputs: as in `add_loss`.
        """
        if isinstance(updates, tuple) and len(updates) == 2 and isinstance(updates[0], Variable):
            updates = [updates]
        self._record("_updates", updates, inputs)

    def _record(self, what, values, inputs):
        values = [v for v in to_list(values, allow_tuple=True) if v is not None]
        if _quiet or not values:
            return
        inputs = tuple(getattr(x, "cast_of", x) for x in to_list(inputs, allow_tuple=True)
                       ) if not is_all_none(inputs) else None
        getattr(self, what).extend(Term(v, inputs, (self,)) for v in values)
        if inputs is None:
            return
        # A layer or model that is calling this one owns the term too, for its own inputs.
        chain = (self,)
        for layer, outer in reversed(frames):
            if layer is not chain[-1]:
                chain += (layer,)
                outer = tuple(to_list(outer, allow_tuple=True))
                getattr(layer, what).extend(Term(v, outer, chain) for v in values)

    def _terms(self, what, wanted):
        """Values of the terms that `wanted(term)` accepts and no frozen layer hides."""
        if what == "_updates" and not (self.trainable or self.stateful):
            return []
        return [term.value for term in getattr(self, what)
                if wanted(term) and (what != "_updates" or term.is_live())]

    def _terms_for(self, what, inputs):
        if inputs is None or is_all_none(inputs):
            found = self._terms(what, lambda term: term.inputs is None)
            if what == "_updates" and not (self.trainable or self.stateful):
                return found
            inner = [v for layer in self._sublayers() for v in layer._terms_for(what, None)]
            return unique(found + inner)
        inputs = to_list(inputs, allow_tuple=True)
        return self._terms(what, lambda term: term.inputs is not None and same(term.inputs, inputs))

    @property
    def losses(self):
        """All terms added to the loss by this layer and the layers in it, over all calls."""
        own = self._terms("_losses", lambda term: len(term.chain) == 1)
        return own + [loss for layer in self._sublayers() for loss in layer.losses]

    @property
    def updates(self):
        """All updates; none of a frozen layer, unless it is stateful."""
        if not (self.trainable or self.stateful):
            return []
        own = self._terms("_updates", lambda term: len(term.chain) == 1)
        return own + [update for layer in self._sublayers() for update in layer.updates]

    def get_losses_for(self, inputs):
        """Terms of the call with exactly these inputs; None: terms that depend on no input."""
        return self._terms_for("_losses", inputs)

    def get_updates_for(self, inputs):
        """Updates of the call with exactly these inputs; None: updates that depend on no input."""
        return self._terms_for("_updates", inputs)


def same(a, b):
    """True if two lists hold the same objects."""
    return len(a) == len(b) and all(x is y for x, y in zip(a, b))


def unique(objects, but=()):
    """The objects without repetitions and without those in `but`, by identity."""
    seen = {id(x) for x in but}
    return [x for x in objects if not (id(x) in seen or seen.add(id(x)))]


def types_only():
    """True inside `on_types`."""
    return _quiet


@contextmanager
def on_types():
    """Inside, layers make placeholders for weights and record neither calls nor losses."""
    global _quiet
    before, _quiet = _quiet, True
    try:
        yield
    finally:
        _quiet = before
