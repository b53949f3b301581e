"""NASNet-A. Zoph et al. 2017, arXiv:1707.07012."""
from .. import backend as K
from .. import layers as L
from .common import Options, channels, correct_pad
from .imagenet_utils import decode_predictions
from .imagenet_utils import preprocess_tf as preprocess_input

URL = "https://github.com/titu1994/Keras-NASNet/releases/download/v1.2/"
# by default size: what is published with and without the top, as (file, md5, name in the cache)
FILES = {
    224: (("NASNet-mobile.h5", "020fb642bf7360b370c678b08e0adf61", "nasnet_mobile.h5"),
          ("NASNet-mobile-no-top.h5", "1ed92395b5b598bdda52abe5c0dbfd63",
           "nasnet_mobile_no_top.h5")),
    331: (("NASNet-large.h5", "11577c9a518f0070763c2b964a382f17", "nasnet_large.h5"),
          ("NASNet-large-no-top.h5", "d81d89dc07e6e56530c4e77faddd61b5",
           "nasnet_large_no_top.h5"))}


def norm(x, name):
    return L.BatchNormalization(axis=-1, momentum=0.9997, epsilon=1e-3, name=name)(x)


def pointwise(x, filters, name):
    return L.Conv2D(filters, (1, 1), padding="same", use_bias=False, name=name,
                    kernel_initializer="he_normal")(x)


def separable(x, filters, size, end, strides=1):
    """Twice: ReLU, separable convolution, normalisation; the first one with the strides."""
    x = L.Activation("relu")(x)
    padding = "same"
    if strides == 2:
        x = L.ZeroPadding2D(correct_pad(x, size), name=f"separable_conv_1_pad_{end}")(x)
        padding = "valid"
    for i in (1, 2):
        if i == 2:
            x = L.Activation("relu")(x)
        x = L.SeparableConv2D(filters, (size, size), strides=strides if i == 1 else 1,
                              padding=padding if i == 1 else "same", use_bias=False,
                              kernel_initializer="he_normal", name=f"separable_conv_{i}_{end}")(x)
        x = norm(x, f"separable_conv_{i}_bn_{end}")
    return x


def adjust(p, x, filters, end):
    """The output p of the cell before last, in the size and channels of this cell."""
    if p is None:
        return x
    if K.int_shape(p)[2] != K.int_shape(x)[2]:
        p = L.Activation("relu", name=f"adjust_relu_1_{end}")(p)
        shifted = p
        halves = []
        for i in (1, 2):
            if i == 2:                                   # the pixels that the first half leaves out
                shifted = L.ZeroPadding2D(((0, 1), (0, 1)))(p)
                shifted = L.Cropping2D(((1, 0), (1, 0)))(shifted)
            half = L.AveragePooling2D((1, 1), strides=(2, 2), padding="valid",
                                      name=f"adjust_avg_pool_{i}_{end}")(shifted)
            halves.append(pointwise(half, filters // 2, f"adjust_conv_{i}_{end}"))
        return norm(L.concatenate(halves, axis=-1), f"adjust_bn_{end}")
    if channels(p) != filters:
        p = pointwise(L.Activation("relu")(p), filters, f"adjust_conv_projection_{end}")
        return norm(p, f"adjust_bn_{end}")
    return p


def pooled(x, kind, strides, padding, name):
    return kind((3, 3), strides=(strides, strides), padding=padding, name=name)(x)


def normal_cell(x, p, filters, end):
    """Figure 4, left. Gives the output and x, which is the next cell's p."""
    p = adjust(p, x, filters, end)
    h = norm(pointwise(L.Activation("relu")(x), filters, f"normal_conv_1_{end}"),
             f"normal_bn_1_{end}")

    def mean(y, side):
        return pooled(y, L.AveragePooling2D, 1, "same", f"normal_{side}_{end}")

    def plus(a, b, i):
        return L.add([a, b], name=f"normal_add_{i}_{end}")

    y1 = plus(separable(h, filters, 5, f"normal_left1_{end}"),
              separable(p, filters, 3, f"normal_right1_{end}"), 1)
    y2 = plus(separable(p, filters, 5, f"normal_left2_{end}"),
              separable(p, filters, 3, f"normal_right2_{end}"), 2)
    y3 = plus(mean(h, "left3"), p, 3)
    y4 = plus(mean(p, "left4"), mean(p, "right4"), 4)
    y5 = plus(separable(h, filters, 3, f"normal_left5_{end}"), h, 5)
    return L.concatenate([p, y1, y2, y3, y4, y5], axis=-1, name=f"normal_concat_{end}"), x


def reduction_cell(x, p, filters, end):
    """Figure 4, right: half the size."""
    p = adjust(p, x, filters, end)
    h = norm(pointwise(L.Activation("relu")(x), filters, f"reduction_conv_1_{end}"),
             f"reduction_bn_1_{end}")
    padded = L.ZeroPadding2D(correct_pad(h, 3), name=f"reduction_pad_1_{end}")(h)

    def halved(y, size, side):
        return separable(y, filters, size, f"reduction_{side}_{end}", strides=2)

    y1 = L.add([halved(h, 5, "left1"), halved(p, 7, "right1")], name=f"reduction_add_1_{end}")
    largest = pooled(padded, L.MaxPooling2D, 2, "valid", f"reduction_left2_{end}")
    y2 = L.add([largest, halved(p, 7, "right2")], name=f"reduction_add_2_{end}")
    mean = pooled(padded, L.AveragePooling2D, 2, "valid", f"reduction_left3_{end}")
    y3 = L.add([mean, halved(p, 5, "right3")], name=f"reduction_add3_{end}")
    mean = pooled(y1, L.AveragePooling2D, 1, "same", f"reduction_left4_{end}")
    y4 = L.add([y2, mean])
    y5 = separable(y1, filters, 3, f"reduction_left4_{end}")
    largest = pooled(padded, L.MaxPooling2D, 2, "valid", f"reduction_right5_{end}")
    y5 = L.add([y5, largest], name=f"reduction_add4_{end}")
    return L.concatenate([y2, y3, y4, y5], axis=-1, name=f"reduction_concat_{end}"), x


def cells(x, filters, num_blocks, filter_multiplier, skip_reduction):
    """Two reductions of the stem, then three rows of normal cells with a reduction between."""
    p = None
    x, p = reduction_cell(x, p, filters // filter_multiplier ** 2, "stem_1")
    x, p = reduction_cell(x, p, filters // filter_multiplier, "stem_2")
    for row in range(3):
        if row:
            x, before = reduction_cell(x, p, filters * filter_multiplier ** row,
                                       f"reduce_{row * num_blocks}")
            p = p if skip_reduction else before
        for i in range(num_blocks):
            number = row * num_blocks + i + (1 if row else 0)
            x, p = normal_cell(x, p, filters * filter_multiplier ** row, str(number))
    return L.Activation("relu")(x)


def NASNet(input_shape=None, penultimate_filters=4032, num_blocks=6, stem_block_filters=96,
           skip_reduction=True, filter_multiplier=2, include_top=True, weights=None,
           input_tensor=None, pooling=None, classes=1000, default_size=None, **kwargs):
    """A NASNet-A (num_blocks @ penultimate_filters); arguments as in `gpukeras.applications`, and

        num_blocks: normal cells in each of the three rows.
        penultimate_filters: channels of the last cell.
        stem_block_filters: filters of the first convolution.
        skip_reduction: whether the cell after a reduction looks back past it.
        filter_multiplier: growth of the filters from row to row.
        default_size: rows and columns of the images; 331 if None.
    """
    if penultimate_filters % (24 * filter_multiplier ** 2):
        raise ValueError("For NASNet-A models, the `penultimate_filters` must be a multiple of "
                         "24 * (`filter_multiplier` ** 2). Current value: "
                         f"{penultimate_filters}")
    options = Options(include_top, weights, input_tensor, input_shape, pooling, classes, **kwargs)
    default_size = default_size or 331
    if weights == "imagenet" and default_size not in FILES:
        raise ValueError("ImageNet weights can only be loaded with NASNetLarge or NASNetMobile")
    if K.image_data_format() != "channels_last":
        raise ValueError("NASNet works on images with channels_last. "
                         "Try: K.set_image_data_format('channels_last')")
    images = options.images(default_size, static=True)
    x = L.Conv2D(stem_block_filters, (3, 3), strides=(2, 2), padding="valid", use_bias=False,
                 name="stem_conv1", kernel_initializer="he_normal")(images)
    x = cells(norm(x, "stem_bn1"), penultimate_filters // 24, num_blocks, filter_multiplier,
              skip_reduction)
    x = options.classified(x, pool=None)
    top, rest = FILES.get(default_size, (None, None))
    return options.model(images, x, "NASNet", URL, top, rest)


def NASNetLarge(input_shape=None, include_top=True, weights="imagenet", input_tensor=None,
                pooling=None, classes=1000, **kwargs):
    """NASNet-A (6 @ 4032); arguments as in `gpukeras.applications`. Images of 331 x 331."""
    return NASNet(input_shape, 4032, 6, 96, True, 2, include_top, weights, input_tensor, pooling,
                  classes, 331, **kwargs)


def NASNetMobile(input_shape=None, include_top=True, weights="imagenet", input_tensor=None,
                 pooling=None, classes=1000, **kwargs):
    """NASNet-A (4 @ 1056); arguments as in `gpukeras.applications`. Images of 224 x 224."""
    return NASNet(input_shape, 1056, 4, 32, False, 2, include_top, weights, input_tensor, pooling,
                  classes, 224, **kwargs)
