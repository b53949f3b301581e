"""Residual networks, two versions. He et al., arXiv:1512.03385 (2015), arXiv:1603.05027 (2016)."""
from .. import layers as L
from .common import Options, channel_axis, tf_files

URL = "https://github.com/keras-team/keras-applications/releases/download/resnet/"
HASHES = {
    "resnet50": ("2cb95161c43110f7111970584f804107", "4d473c1dd8becc155b73f8504c6f6626"),
    "resnet101": ("f1aeb4b969a6efcfb50fad2f0c20cfc5", "88cf7a10940856eca736dc7b7e228a21"),
    "resnet152": ("100835be76be38e30d865e96f2aaae62", "ee4c566cf9a93f14d82f913c2dc6dd0c"),
    "resnet50v2": ("3ef43a0b657b3be2300d5770ece849e0", "fac2f116257151a9d068a22e544a4917"),
    "resnet101v2": ("6343647c601c52e1368623803854d971", "c0ed64b8031c3730f411d2eb4eea35b5"),
    "resnet152v2": ("a49b44d1979771252814e80f8ec446f9", "ed17cf2e0169df9d443503ef94b23b33")}


def norm(x, name):
    return L.BatchNormalization(axis=channel_axis(), epsilon=1.001e-5, name=name)(x)


def relu(x, name):
    return L.Activation("relu", name=name)(x)


def block1(x, filters, name, stride=1, shortcut=False):
    """Convolutions 1x1, 3x3, 1x1, then the sum with x, or with a convolution of x."""
    other = x
    if shortcut:
        other = norm(L.Conv2D(4 * filters, 1, strides=stride, name=name + "_0_conv")(x),
                     name + "_0_bn")
    x = norm(L.Conv2D(filters, 1, strides=stride, name=name + "_1_conv")(x), name + "_1_bn")
    x = relu(x, name + "_1_relu")
    x = norm(L.Conv2D(filters, 3, padding="same", name=name + "_2_conv")(x), name + "_2_bn")
    x = relu(x, name + "_2_relu")
    x = norm(L.Conv2D(4 * filters, 1, name=name + "_3_conv")(x), name + "_3_bn")
    return relu(L.Add(name=name + "_add")([other, x]), name + "_out")


def block2(x, filters, name, stride=1, shortcut=False):
    """The same with normalisation and ReLU before the convolutions."""
    before = relu(norm(x, name + "_preact_bn"), name + "_preact_relu")
    if shortcut:
        other = L.Conv2D(4 * filters, 1, strides=stride, name=name + "_0_conv")(before)
    else:
        other = L.MaxPooling2D(1, strides=stride)(x) if stride > 1 else x
    x = L.Conv2D(filters, 1, strides=1, use_bias=False, name=name + "_1_conv")(before)
    x = relu(norm(x, name + "_1_bn"), name + "_1_relu")
    x = L.ZeroPadding2D(((1, 1), (1, 1)), name=name + "_2_pad")(x)
    x = L.Conv2D(filters, 3, strides=stride, use_bias=False, name=name + "_2_conv")(x)
    x = relu(norm(x, name + "_2_bn"), name + "_2_relu")
    x = L.Conv2D(4 * filters, 1, name=name + "_3_conv")(x)
    return L.Add(name=name + "_out")([other, x])


def stack1(x, filters, blocks, stride, name):
    """The first block has the stride."""
    x = block1(x, filters, name + "_block1", stride, shortcut=True)
    for i in range(2, blocks + 1):
        x = block1(x, filters, f"{name}_block{i}")
    return x


def stack2(x, filters, blocks, stride, name):
    """The last block has the stride."""
    x = block2(x, filters, name + "_block1", shortcut=True)
    for i in range(2, blocks + 1):
        x = block2(x, filters, f"{name}_block{i}", stride if i == blocks else 1)
    return x


def resnet(name, blocks, version, *arguments, **kwargs):
    """ResNet `version` 1 or 2 with so many blocks in its four stacks."""
    options = Options(*arguments, **kwargs)
    images = options.images(224)
    x = L.ZeroPadding2D(((3, 3), (3, 3)), name="conv1_pad")(images)
    x = L.Conv2D(64, 7, strides=2, name="conv1_conv")(x)
    if version == 1:
        x = relu(norm(x, "conv1_bn"), "conv1_relu")
    x = L.ZeroPadding2D(((1, 1), (1, 1)), name="pool1_pad")(x)
    x = L.MaxPooling2D(3, strides=2, name="pool1_pool")(x)
    stack, strides = (stack1, (1, 2, 2, 2)) if version == 1 else (stack2, (2, 2, 2, 1))
    for i, (count, stride) in enumerate(zip(blocks, strides)):
        x = stack(x, 64 * 2 ** i, count, stride, f"conv{i + 2}")
    if version == 2:
        x = relu(norm(x, "post_bn"), "post_relu")
    x = options.classified(x, "probs", free=("avg_pool", "max_pool"))
    return options.model(images, x, name, URL, **tf_files(name, *HASHES[name]))
