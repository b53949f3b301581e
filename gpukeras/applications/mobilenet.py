"""MobileNet. Howard et al. 2017, arXiv:1704.04861."""
import warnings

from .. import backend as K
from .. import layers as L
from ..activations import relu6
from ..layers import DepthwiseConv2D
from .common import MODELS, Options, channel_axis
from .imagenet_utils import decode_predictions
from .imagenet_utils import preprocess_tf as preprocess_input

ALPHAS = {1.0: "1_0", 0.75: "7_5", 0.5: "5_0", 0.25: "2_5"}         # in the names of the files
SIZES = (128, 160, 192, 224)
# filters and strides of the depthwise blocks
BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *5 * ((512, 1),), (1024, 2),
          (1024, 1))


def norm_relu(x, name):
    x = L.BatchNormalization(axis=channel_axis(-1), name=name + "_bn")(x)
    return L.ReLU(6., name=name + "_relu")(x)


def block(x, filters, strides, depth_multiplier, number):
    """Depthwise 3 x 3 and pointwise 1 x 1 convolution."""
    padding = "same"
    if strides == 2:
        x = L.ZeroPadding2D(((0, 1), (0, 1)), name=f"conv_pad_{number}")(x)
        padding = "valid"
    name = f"conv_dw_{number}"
    x = L.DepthwiseConv2D((3, 3), padding=padding, depth_multiplier=depth_multiplier,
                          strides=(strides, strides), use_bias=False, name=name)(x)
    x = norm_relu(x, name)
    name = f"conv_pw_{number}"
    x = L.Conv2D(filters, (1, 1), padding="same", use_bias=False, strides=(1, 1), name=name)(x)
    return norm_relu(x, name)


def image_size(shape, sizes):
    """(rows, columns) of a shape without the batch axis, and the published size nearest to it."""
    if shape is None:
        return None, 224
    rows, columns = shape[1:3] if K.image_data_format() == "channels_first" else shape[:2]
    return (rows, columns), rows if rows == columns and rows in sizes else 224


def weights_size(options, sizes, alphas, alpha):
    """Rows of the images that the published weights are for; also part of the model's name."""
    (rows, columns), size = image_size(options.input_shape, sizes)
    if options.weights != "imagenet":
        return rows
    if alpha not in alphas:
        raise ValueError("If imagenet weights are being loaded, alpha can be one of "
                         f"{', '.join(map(str, alphas))} only. Got {alpha}")
    if rows != columns or rows not in sizes:
        warnings.warn("`input_shape` is undefined or non-square, or `rows` is not in "
                      f"{list(sizes)}. Weights for input shape (224, 224) will be loaded as the "
                      "default.")
    return size


def classes_of(x, options, alpha):
    """The classifier, a 1 x 1 convolution on one pixel."""
    count = int(1024 * alpha)
    shape = (count, 1, 1) if K.image_data_format() == "channels_first" else (1, 1, count)
    x = L.Reshape(shape, name="reshape_1")(L.GlobalAveragePooling2D()(x))
    x = L.Dropout(options.dropout, name="dropout")(x)
    x = L.Conv2D(options.classes, (1, 1), padding="same", name="conv_preds")(x)
    x = L.Reshape((options.classes,), name="reshape_2")(x)
    return L.Activation("softmax", name="act_softmax")(x)


def MobileNet(input_shape=None, alpha=1.0, depth_multiplier=1, dropout=1e-3, include_top=True,
              weights="imagenet", input_tensor=None, pooling=None, classes=1000, **kwargs):
    """MobileNet; arguments as in `gpukeras.applications`, and

        alpha: factor of the number of filters.
        depth_multiplier: filters per channel of the depthwise convolutions.
        dropout: rate of the dropout before the classifier.

    Images of 224 x 224, at least 32 x 32.
    """
    options = Options(include_top, weights, input_tensor, input_shape, pooling, classes, **kwargs)
    options.dropout = dropout
    images = options.images(image_size(input_shape, SIZES)[1])
    rows = weights_size(options, SIZES, ALPHAS, alpha)
    if weights == "imagenet" and depth_multiplier != 1:
        raise ValueError("If imagenet weights are being loaded, depth multiplier must be 1")

    x = L.ZeroPadding2D(((0, 1), (0, 1)), name="conv1_pad")(images)
    x = L.Conv2D(int(32 * alpha), (3, 3), padding="valid", use_bias=False, strides=(2, 2),
                 name="conv1")(x)
    x = norm_relu(x, "conv1")
    for number, (filters, strides) in enumerate(BLOCKS, 1):
        x = block(x, int(filters * alpha), strides, depth_multiplier, number)
    x = classes_of(x, options, alpha) if include_top else options.pooled(x)
    file = f"mobilenet_{ALPHAS.get(alpha)}_{rows}_tf"
    return options.model(images, x, f"mobilenet_{alpha:0.2f}_{rows}", MODELS + "v0.6/",
                         (file + ".h5", None), (file + "_no_top.h5", None))
