"""K: the functions that Keras code is written in, as names for the ops of the graph."""
from . import common
from .arrange import (arange, batch_dot, batch_flatten, concatenate, dot, expand_dims, flatten,
                      gather, one_hot, permute_dimensions, repeat, repeat_elements, reshape,
                      resize_images, resize_volumes, reverse, slice, spatial_2d_padding,
                      spatial_3d_padding, squeeze, stack, temporal_padding, tile, transpose)
from .core import (batch_get_value, batch_set_value, cast, cast_to_floatx, clear_session, constant,
                   control_dependencies, count_params, dtype, eager, eval, eye, function, get_value,
                   gradients, identity, in_test_phase, in_train_phase, int_shape, is_keras_tensor,
                   is_placeholder, is_sparse, is_tensor, is_variable, learning_phase,
                   moving_average_update, ndim, ones, ones_like, placeholder, print_tensor,
                   set_learning_phase, set_value, shape, size, stop_gradient, switch, symbolic,
                   to_dense, update, update_add, update_sub, variable, zeros, zeros_like)
from .ctc import (ctc_batch_cost, ctc_decode, ctc_label_dense_to_sparse)
from .math import (abs, all, any, argmax, argmin, clip, cos, cumprod, cumsum, equal, exp, greater,
                   greater_equal, l2_normalize, less, less_equal, log, logsumexp, max, maximum,
                   mean, min, minimum, not_equal, pow, prod, round, sign, sin, sqrt, square, std,
                   sum, var)
from .nn import (batch_normalization, bias_add, binary_crossentropy, categorical_crossentropy,
                 conv1d, conv2d, conv2d_transpose, conv3d, conv3d_transpose, depthwise_conv2d,
                 dropout, elu, hard_sigmoid, in_top_k, local_conv1d, local_conv2d,
                 normalize_batch_in_training, pool2d, pool3d, relu, separable_conv1d,
                 separable_conv2d, sigmoid, softmax, softplus, softsign,
                 sparse_categorical_crossentropy, tanh)
from .random import (random_binomial, random_normal, random_normal_variable, random_uniform,
                     random_uniform_variable, truncated_normal)
from .recurrent import (foldl, foldr, map_fn, rnn)
from .settings import (backend, epsilon, floatx, get_uid, image_data_format, image_dim_ordering,
                       name_scope, normalize_data_format, reset_uids, set_epsilon, set_floatx,
                       set_image_data_format, set_image_dim_ordering)
