"""Connectionist temporal classification."""
import numpy as np

from ..ops import broadcast
from ..ops import ctc as op
from ..ops import math as m
from .arrange import expand_dims
from .core import ndim
from .settings import epsilon


def _vector(lengths):
    return broadcast.squeeze(lengths, 1) if ndim(lengths) == 2 else lengths


def ctc_batch_cost(y_true, y_pred, input_length, label_length):
    """CTC loss of each sample, (samples, 1).

    # Arguments
        y_true: class numbers (samples, max_string_length).
        y_pred: probabilities, the output of a softmax (samples, time_steps, num_categories); the
            last category is the blank.
        input_length: time steps in use of each sample of `y_pred`, (samples, 1).
        label_length: classes in use of each sample of `y_true`, (samples, 1).
    """
    scores = m.log(y_pred + epsilon())
    loss = op.ctc_loss(scores, y_true, _vector(input_length), _vector(label_length))
    return expand_dims(loss, 1)


def ctc_decode(y_pred, input_length, greedy=True, beam_width=100, top_paths=1,
               merge_repeated=False):
    """The most probable class sequences.

    # Arguments
        y_pred: probabilities (samples, time_steps, num_categories), the last category the blank.
        input_length: time steps in use of each sample, (samples,).
        greedy: take the best class of each step; else a beam search.
        beam_width: sequences the beam search keeps.
        top_paths: how many sequences it returns.
        merge_repeated: whether equal neighbours in its results become one.

    # Returns
        (list of tensors (samples, time_steps) of class numbers padded with -1, one if greedy, else
        `top_paths`; scores: -sum of the best log probabilities (samples, 1) if greedy, else log
        probabilities (samples, top_paths)).
    """
    scores = m.log(y_pred + epsilon())
    if greedy:
        labels, score = op.ctc_greedy(scores, input_length)
        return [labels], score
    return op.ctc_beam(scores, input_length, beam_width, top_paths, merge_repeated)


def ctc_label_dense_to_sparse(labels, label_lengths):
    """Labels with everything beyond their lengths as -1. Tensors here are dense, so this is what
    stands for TensorFlow's sparse tensor."""
    inside = m.less(np.arange(labels.shape[1]), expand_dims(label_lengths, 1))
    return m.where(inside, labels, m.full_like(labels, -1))
