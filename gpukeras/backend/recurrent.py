"""K.rnn and the folds: loops over an axis, on the scan op."""
from ..graph import Tensor
from ..ops import broadcast, math
from ..ops import shape as op
from ..ops.scan import scan

__all__ = ["rnn", "map_fn", "foldl", "foldr"]


def rnn(step_function, inputs, initial_states, go_backwards=False, mask=None, constants=None,
        unroll=False, input_length=None):
    """Iterate over the time axis of a tensor.

    # Arguments
        step_function: (input, states) -> (output, new states), where `input` is (samples, …), one
            time step, and `states` is the list of states followed by `constants`.
        inputs: (samples, time, …), or a list of such tensors.
        initial_states: list of tensors (samples, …).
        go_backwards: walk from the last step to the first; outputs come in the order walked.
        mask: (samples, time) or (samples, time, 1); where it is 0, the states stay and the output
            of the step before is repeated (zeros before the first).
        constants: list of tensors handed to every step.
        unroll: write the loop out in the graph; the number of steps must be known.
        input_length: not needed; lengths come from the shapes.

    # Returns
        (last output, outputs (samples, time, …), list of last states).

    # Raises
        ValueError: if `unroll` is asked for and the number of steps is unknown.
    """
    many = isinstance(inputs, (list, tuple))
    sequences = [_time_first(x) for x in (inputs if many else [inputs])]
    constants = list(constants or [])
    if mask is not None:
        sequences.append(_mask_in_time(mask))
    if go_backwards:
        sequences = [op.reverse(s, 0) for s in sequences]

    def plain(slices, states):
        output, new = step_function(slices if many else slices[0], list(states) + constants)
        return output, list(new)

    states = list(initial_states)
    step = plain
    if mask is not None:
        first, _ = plain([s[0] for s in sequences[:-1]], states)
        states, step = [*states, math.zeros_like(first)], _masked(plain)
    run = _unrolled if unroll else scan
    histories, (outputs,) = run(lambda xs, ss: _collect(step(xs, ss)), sequences, states)
    finals = [h[-1] for h in histories]
    outputs = _time_first(outputs)
    return outputs[:, -1], outputs, finals[:-1] if mask is not None else finals


def _collect(result):
    output, new = result
    return new, [output]


def _masked(plain):
    """A step that repeats the previous output, its last state, where the mask is 0."""
    def step(slices, states):
        output, new = plain(slices[:-1], states[:-1])
        keep = slices[-1]
        output = math.where(_like_rank(keep, output), output, states[-1])
        kept = [math.where(_like_rank(keep, n), n, s) for n, s in zip(new, states, strict=False)]
        return output, [*kept, output]
    return step


def _like_rank(keep: Tensor, t: Tensor) -> Tensor:
    """The mask of one step, (samples,), with axes of size 1 up to the rank of t."""
    return broadcast.expand_dims(keep, range(1, t.ndim)) if t.ndim > 1 else keep


def _mask_in_time(mask: Tensor) -> Tensor:
    mask = math.cast(mask, "bool")
    return _time_first(broadcast.squeeze(mask, 2) if mask.ndim == 3 else mask)


def _time_first(x: Tensor) -> Tensor:
    """Axes 0 and 1 changed; its own inverse."""
    if x.ndim < 2:
        raise ValueError(f"K.rnn: got inputs of rank {x.ndim}, expected (samples, time, …).")
    return op.transpose(x, (1, 0, *range(2, x.ndim)))


def _unrolled(step, sequences, states):
    """`scan` written out in the graph."""
    length = sequences[0].shape[0]
    if length is None:
        raise ValueError("Unrolling requires a known number of time steps: got None. Try: give the "
                         "time axis a size in input_shape, or unroll=False.")
    histories, columns = [[] for _ in states], []
    for t in range(length):
        states, values = step([s[t] for s in sequences], states)
        columns.append(values)
        for history, s in zip(histories, states, strict=True):
            history.append(s)
    return [op.stack(h, 0) for h in histories], [op.stack(c, 0) for c in zip(*columns, strict=True)]


def map_fn(fn, elems, name=None, dtype=None):
    """fn(element) for every element along the first axis, stacked."""
    many = isinstance(elems, (list, tuple))
    sequences = list(elems) if many else [elems]

    def step(slices, states):
        y = fn(slices if many else slices[0])
        return [], [y if dtype is None else math.cast(y, dtype)]

    _, (result,) = scan(step, sequences, [])
    return result


def foldl(fn, elems, initializer=None, name=None):
    """fn(… fn(fn(initializer, elems[0]), elems[1]) …); the default initializer is elems[0]."""
    return _fold(fn, elems, initializer, False)


def foldr(fn, elems, initializer=None, name=None):
    """fn(… fn(fn(initializer, elems[-1]), elems[-2]) …), from the last element to the first."""
    return _fold(fn, elems, initializer, True)


def _fold(fn, elems, initializer, reverse):
    if initializer is None:
        initializer = elems[-1] if reverse else elems[0]
        elems = elems[:-1] if reverse else elems[1:]
    (history,), _ = scan(lambda xs, ss: ([fn(ss[0], xs[0])], []), [elems], [initializer], reverse)
    return history[0] if reverse else history[-1]
