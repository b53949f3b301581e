"""ResNet50V2, 101V2 and 152V2. He et al. 2016, arXiv:1603.05027."""
from .imagenet_utils import decode_predictions
from .imagenet_utils import preprocess_tf as preprocess_input
from .resnet_common import resnet


def ResNet50V2(include_top=True, weights="imagenet", input_tensor=None, input_shape=None,
               pooling=None, classes=1000, **kwargs):
    """ResNet50V2; arguments as in `gpukeras.applications`. Images of 224 x 224."""
    return resnet("resnet50v2", (3, 4, 6, 3), 2, include_top, weights, input_tensor,
                  input_shape, pooling, classes, **kwargs)


def ResNet101V2(include_top=True, weights="imagenet", input_tensor=None, input_shape=None,
                pooling=None, classes=1000, **kwargs):
    """ResNet101V2; arguments as in `gpukeras.applications`. Images of 224 x 224."""
    return resnet("resnet101v2", (3, 4, 23, 3), 2, include_top, weights, input_tensor,
                  input_shape, pooling, classes, **kwargs)


def ResNet152V2(include_top=True, weights="imagenet", input_tensor=None, input_shape=None,
                pooling=None, classes=1000, **kwargs):
    """ResNet152V2; arguments as in `gpukeras.applications`. Images of 224 x 224."""
    return resnet("resnet152v2", (3, 8, 36, 3), 2, include_top, weights, input_tensor,
                  input_shape, pooling, classes, **kwargs)
