"""What all architectures share: input, classifier or pooling, weights, and the usual layers."""
import os
from dataclasses import dataclass
from typing import Any

from .. import backend as K
from .. import layers as L
from ..models import Model
from ..utils.data_utils import get_file
from ..utils.layer_utils import get_source_inputs
from .imagenet_utils import _obtain_input_shape

MODELS = "https://github.com/fchollet/deep-learning-models/releases/download/"


@dataclass
class Options:
    """The arguments of one call, as the package's docstring explains them."""

    include_top: bool
    weights: str | None
    input_tensor: Any
    input_shape: tuple | None
    pooling: str | None
    classes: int
    # keras-applications injects its modules by these names; programs pass them on
    backend: Any = None
    layers: Any = None
    models: Any = None
    utils: Any = None

    def __post_init__(self):
        if self.weights not in ("imagenet", None) and not os.path.exists(self.weights):
            raise ValueError("The `weights` argument should be either `None` (random "
                             "initialization), `imagenet` (pre-training on ImageNet), or the path "
                             f"to the weights file to be loaded. Got {self.weights!r}")
        if self.weights == "imagenet" and self.include_top and self.classes != 1000:
            raise ValueError('If using `weights` as `"imagenet"` with `include_top` as true, '
                             f"`classes` should be 1000. Got {self.classes}")
        if self.pooling not in (None, "avg", "max"):
            raise ValueError(f"`pooling` should be None, 'avg' or 'max'. Got {self.pooling!r}")

    def images(self, default_size, min_size=32, static=None):
        """The input tensor; `static`: its size must be known (None: if the top is there)."""
        self.input_shape = _obtain_input_shape(
            self.input_shape, default_size, min_size, K.image_data_format(),
            self.include_top if static is None else static, self.weights)
        if self.input_tensor is None:
            return L.Input(shape=self.input_shape)
        if K.is_keras_tensor(self.input_tensor):
            return self.input_tensor
        return L.Input(tensor=self.input_tensor, shape=self.input_shape)

    def pooled(self, x, average=None, largest=None):
        """The mean or maximum over the image, as asked for; names of the two layers."""
        if self.pooling == "avg":
            return L.GlobalAveragePooling2D(name=average)(x)
        if self.pooling == "max":
            return L.GlobalMaxPooling2D(name=largest)(x)
        return x

    def classified(self, x, name="predictions", pool="avg_pool", free=(None, None)):
        """Averages and probabilities (layers `pool`, `name`), or, without the top, `pooled`."""
        if not self.include_top:
            return self.pooled(x, *free)
        x = L.GlobalAveragePooling2D(name=pool)(x)
        return L.Dense(self.classes, activation="softmax", name=name)(x)

    def model(self, images, y, name, url=None, top=None, rest=None):
        """The model, with its weights.

        # Arguments
            url: folder of the published weights.
            top, rest: (file, md5 or None[, name in the cache]) with and without the top.
        """
        inputs = images if self.input_tensor is None else get_source_inputs(self.input_tensor)
        model = Model(inputs, y, name=name)
        if self.weights == "imagenet" and url:
            file, md5, *cached = top if self.include_top else rest
            model.load_weights(get_file(cached[0] if cached else file, url + file,
                                        cache_subdir="models", file_hash=md5))
        elif self.weights not in (None, "imagenet"):
            model.load_weights(self.weights)
        return model


def channel_axis(last=3):
    """Axis of the channels; `last`: what "the last" is called in the config, 3 or -1."""
    return 1 if K.image_data_format() == "channels_first" else last


def channels(x):
    return K.int_shape(x)[channel_axis(-1)]


def correct_pad(x, kernel_size):
    """Zeros around x so that a kernel with strides 2 meets the pixels that "same" would meet."""
    axis = 2 if K.image_data_format() == "channels_first" else 1
    sizes = K.int_shape(x)[axis:axis + 2]
    half = kernel_size // 2
    return tuple((half - (1 if sizes[0] is None else 1 - size % 2), half) for size in sizes)


def tf_files(name, top, rest):
    """`top` and `rest` of Options.model for weights in the usual names."""
    file = f"{name}_weights_tf_dim_ordering_tf_kernels"
    return {"top": (file + ".h5", top), "rest": (file + "_notop.h5", rest)}
