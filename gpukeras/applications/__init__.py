"""Architectures for images, with the layer names and orders of keras-applications 1.0.8.

Every function takes

    include_top: whether the classifier is part of the model.
    weights: None (new ones), "imagenet" (from ~/.keras/models, else downloaded) or a file.
    input_tensor: tensor of images to use as input.
    input_shape: size of the images without the batch axis; without the classifier it may be free.
    pooling: without the classifier: None, "avg" or "max" over the image.
    classes: number of classes; 1000 with the weights for ImageNet.

and gives a Model. The function `preprocess_input` of the same module makes RGB values 0 to 255 what
its weights expect; `decode_predictions` names the classes.
"""
from .densenet import DenseNet121, DenseNet169, DenseNet201
from .inception_resnet_v2 import InceptionResNetV2
from .inception_v3 import InceptionV3
from .mobilenet import MobileNet
from .mobilenet_v2 import MobileNetV2
from .nasnet import NASNetLarge, NASNetMobile
from .resnet import ResNet101, ResNet152
from .resnet50 import ResNet50
from .resnet_v2 import ResNet50V2, ResNet101V2, ResNet152V2
from .vgg16 import VGG16
from .vgg19 import VGG19
from .xception import Xception
