"""MobileNetV2. Sandler et al. 2018, arXiv:1801.04381."""
from .. import backend as K
from .. import layers as L
from .common import Options, channel_axis, channels, correct_pad
from .imagenet_utils import decode_predictions
from .imagenet_utils import preprocess_tf as preprocess_input
from .mobilenet import image_size, weights_size

URL = "https://github.com/JonathanCMitchell/mobilenet_v2_keras/releases/download/v1.1/"
ALPHAS = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)
SIZES = (96, 128, 160, 192, 224)
# filters, strides and expansion of the blocks
BLOCKS = ((16, 1, 1), (24, 2, 6), (24, 1, 6), (32, 2, 6), *2 * ((32, 1, 6),), (64, 2, 6),
          *3 * ((64, 1, 6),), *3 * ((96, 1, 6),), (160, 2, 6), *2 * ((160, 1, 6),), (320, 1, 6))


def _make_divisible(v, divisor, min_value=None):
    """The multiple of `divisor` nearest to v, not more than a tenth below it."""
    near = max(min_value or divisor, int(v + divisor / 2) // divisor * divisor)
    return near + divisor if near < 0.9 * v else near


def norm(x, name):
    return L.BatchNormalization(axis=channel_axis(-1), epsilon=1e-3, momentum=0.999, name=name)(x)


def pointwise(x, filters, name):
    return L.Conv2D(filters, kernel_size=1, padding="same", use_bias=False, name=name)(x)


def block(x, filters, stride, expansion, number):
    """Widen by a 1 x 1 convolution, depthwise 3 x 3, narrow; plus x where the shape is the same."""
    name = f"block_{number}_" if number else "expanded_conv_"
    y = x
    if number:
        y = norm(pointwise(x, expansion * channels(x), name + "expand"), name + "expand_BN")
        y = L.ReLU(6., name=name + "expand_relu")(y)
    if stride == 2:
        y = L.ZeroPadding2D(correct_pad(y, 3), name=name + "pad")(y)
    y = L.DepthwiseConv2D(kernel_size=3, strides=stride, use_bias=False,
                          padding="same" if stride == 1 else "valid", name=name + "depthwise")(y)
    y = L.ReLU(6., name=name + "depthwise_relu")(norm(y, name + "depthwise_BN"))
    y = norm(pointwise(y, filters, name + "project"), name + "project_BN")
    if stride == 1 and channels(x) == filters:
        return L.Add(name=name + "add")([x, y])
    return y


def _checked_shape(input_shape, input_tensor):
    """Size of the images: what was given, or that of the tensor."""
    if input_tensor is None or not K.is_keras_tensor(input_tensor):
        return input_shape
    given = K.int_shape(input_tensor)[1:]
    if input_shape is not None and tuple(input_shape) != given:
        raise ValueError(f"input_shape {tuple(input_shape)} and input_tensor, of shape {given}, "
                         "do not meet the same shape requirements")
    return given


def MobileNetV2(input_shape=None, alpha=1.0, include_top=True, weights="imagenet",
                input_tensor=None, pooling=None, classes=1000, **kwargs):
    """MobileNetV2; arguments as in `gpukeras.applications`, and alpha: factor of the filters.

    Images of 224 x 224, at least 32 x 32.
    """
    input_shape = _checked_shape(input_shape, input_tensor)
    options = Options(include_top, weights, input_tensor, input_shape, pooling, classes, **kwargs)
    images = options.images(image_size(input_shape, SIZES)[1])
    rows = weights_size(options, SIZES, ALPHAS, alpha)

    x = L.ZeroPadding2D(correct_pad(images, 3), name="Conv1_pad")(images)
    x = L.Conv2D(_make_divisible(32 * alpha, 8), kernel_size=3, strides=(2, 2), padding="valid",
                 use_bias=False, name="Conv1")(x)
    x = L.ReLU(6., name="Conv1_relu")(norm(x, "bn_Conv1"))
    for number, (filters, stride, expansion) in enumerate(BLOCKS):
        x = block(x, _make_divisible(int(filters * alpha), 8), stride, expansion, number)
    # the paper: no alpha here, but for wider networks
    last = _make_divisible(1280 * alpha, 8) if alpha > 1.0 else 1280
    x = L.Conv2D(last, kernel_size=1, use_bias=False, name="Conv_1")(x)
    x = L.ReLU(6., name="out_relu")(norm(x, "Conv_1_bn"))
    x = options.classified(x, "Logits", pool=None)
    file = f"mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{alpha}_{rows}"
    return options.model(images, x, f"mobilenetv2_{alpha:0.2f}_{rows}", URL, (file + ".h5", None),
                         (file + "_no_top.h5", None))
