"""VGG16. Simonyan, Zisserman 2014, arXiv:1409.1556."""
from .. import layers as L
from .common import MODELS, Options, tf_files
from .imagenet_utils import decode_predictions, preprocess_input

FILES = tf_files("vgg16", "64373286793e3c8b2b4e3219cbf3544b", "6d6bbae143d832006294945121d1f1fc")


def VGG16(include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None,
          classes=1000, **kwargs):
    """VGG16; arguments as in `gpukeras.applications`. Images of 224 x 224, at least 32 x 32."""
    options = Options(include_top, weights, input_tensor, input_shape, pooling, classes, **kwargs)
    return vgg("vgg16", (2, 2, 3, 3, 3), options, FILES)


def vgg(name, counts, options, files):
    """Five blocks with so many convolutions each, then two dense layers and the classes."""
    images = x = options.images(224)
    for block, (count, filters) in enumerate(zip(counts, (64, 128, 256, 512, 512)), 1):
        for i in range(1, count + 1):
            x = L.Conv2D(filters, (3, 3), activation="relu", padding="same",
                         name=f"block{block}_conv{i}")(x)
        x = L.MaxPooling2D((2, 2), strides=(2, 2), name=f"block{block}_pool")(x)
    if options.include_top:
        x = L.Flatten(name="flatten")(x)
        x = L.Dense(4096, activation="relu", name="fc1")(x)
        x = L.Dense(4096, activation="relu", name="fc2")(x)
        x = L.Dense(options.classes, activation="softmax", name="predictions")(x)
    else:
        x = options.pooled(x)
    return options.model(images, x, name, MODELS + "v0.1/", **files)
