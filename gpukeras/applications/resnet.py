"""ResNet50, 101 and 152. He et al. 2015, arXiv:1512.03385."""
from .imagenet_utils import decode_predictions, preprocess_input
from .resnet_common import resnet


def ResNet50(include_top=True, weights="imagenet", input_tensor=None, input_shape=None,
             pooling=None, classes=1000, **kwargs):
    """ResNet50; arguments as in `gpukeras.applications`. Images of 224 x 224."""
    return resnet("resnet50", (3, 4, 6, 3), 1, include_top, weights, input_tensor,
                  input_shape, pooling, classes, **kwargs)


def ResNet101(include_top=True, weights="imagenet", input_tensor=None, input_shape=None,
              pooling=None, classes=1000, **kwargs):
    """ResNet101; arguments as in `gpukeras.applications`. Images of 224 x 224."""
    return resnet("resnet101", (3, 4, 23, 3), 1, include_top, weights, input_tensor,
                  input_shape, pooling, classes, **kwargs)


def ResNet152(include_top=True, weights="imagenet", input_tensor=None, input_shape=None,
              pooling=None, classes=1000, **kwargs):
    """ResNet152; arguments as in `gpukeras.applications`. Images of 224 x 224."""
    return resnet("resnet152", (3, 8, 36, 3), 1, include_top, weights, input_tensor,
                  input_shape, pooling, classes, **kwargs)
