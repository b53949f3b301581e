"""VGG19. Simonyan, Zisserman 2014, arXiv:1409.1556."""
from .common import Options, tf_files
from .imagenet_utils import decode_predictions, preprocess_input
from .vgg16 import vgg

FILES = tf_files("vgg19", "cbe5617147190e668d6c5d5026f83318", "253f8cb515780f3b799900260a226db6")


def VGG19(include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None,
          classes=1000, **kwargs):
    """VGG19; arguments as in `gpukeras.applications`. Images of 224 x 224, at least 32 x 32."""
    options = Options(include_top, weights, input_tensor, input_shape, pooling, classes, **kwargs)
    return vgg("vgg19", (2, 2, 4, 4, 4), options, FILES)
