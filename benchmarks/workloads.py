"""The models of the benchmark, in Keras's words and in torch's, and their data.

To add one: a line in WORKLOADS, its words in fit.py, a function `name_keras(keras, inputs)` ->
(outputs, optimizer) and a function `name_torch(nn)` -> module (channels first), named in KERAS and
TORCH below.
"""

from typing import NamedTuple


class Workload(NamedTuple):
    """`steps` per epoch; `predicts`: times predict_on_batch, not the training step in fit."""

    model: str
    shape: tuple
    classes: int
    batch: int
    steps: int
    predicts: bool = False


WORKLOADS = {
    "mlp": Workload("mlp", (784,), 10, 32, 150),
    "cnn": Workload("cnn", (28, 28, 1), 10, 128, 12),
    "cnn3": Workload("cnn3", (28, 28, 1), 10, 32, 30),
    "resnet20": Workload("resnet20", (32, 32, 3), 10, 32, 8),
    "vgg16-predict-1": Workload("vgg16", (224, 224, 3), 1000, 1, 1, True),
    "vgg16-predict-8": Workload("vgg16", (224, 224, 3), 1000, 8, 1, True),
}
RESNET_STAGES, RESNET_BLOCKS = (16, 32, 64), 3     # He et al. 2015, arXiv:1512.03385, section 4.2
VGG_BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))


def arrays(workload):
    """Random images and one-hot labels: x (N, *shape) float32, y (N, classes) float32."""
    import numpy as np
    work = WORKLOADS[workload]
    rng = np.random.default_rng(0)
    x = rng.random((work.batch * work.steps,) + work.shape, dtype=np.float32)
    labels = rng.integers(0, work.classes, work.batch * work.steps)
    return x, np.eye(work.classes, dtype=np.float32)[labels]


# ------------------------------------------------------------------------------ Keras

def mlp_keras(keras, x):
    return keras.layers.Dense(400, activation="relu")(x), keras.optimizers.RMSprop()


def cnn_keras(keras, x):
    L = keras.layers
    for filters in (32, 64):
        x = L.Conv2D(filters, (5, 5), activation="relu")(x)
        x = L.MaxPooling2D((2, 2))(x)
    return L.Dense(1000, activation="relu")(L.Flatten()(x)), keras.optimizers.Adam()


def cnn3_keras(keras, x):
    L = keras.layers
    x = L.Conv2D(32, (3, 3), activation="relu")(x)
    x = L.Conv2D(32, (3, 3), activation="relu")(x)
    x = L.Dropout(0.25)(L.MaxPooling2D((2, 2))(x))
    return (L.Dropout(0.5)(L.Dense(128, activation="relu")(L.Flatten()(x))),
            keras.optimizers.Adam())


def resnet20_keras(keras, x):
    L = keras.layers

    def convolve(x, filters, size, stride, relu):
        x = L.Conv2D(filters, size, strides=stride, padding="same",
                     kernel_initializer="he_normal")(x)
        x = L.BatchNormalization()(x)
        return L.Activation("relu")(x) if relu else x

    x = convolve(x, RESNET_STAGES[0], 3, 1, True)
    for stage, filters in enumerate(RESNET_STAGES):
        for block in range(RESNET_BLOCKS):
            stride = 2 if stage and not block else 1
            y = convolve(convolve(x, filters, 3, stride, True), filters, 3, 1, False)
            if stride == 2:
                x = convolve(x, filters, 1, 2, False)
            x = L.Activation("relu")(L.add([x, y]))
    return L.GlobalAveragePooling2D()(x), keras.optimizers.Adam()


def vgg16_keras(keras, x):
    L = keras.layers
    for count, filters in VGG_BLOCKS:
        for _ in range(count):
            x = L.Conv2D(filters, (3, 3), padding="same", activation="relu")(x)
        x = L.MaxPooling2D((2, 2))(x)
    x = L.Flatten()(x)
    for _ in range(2):
        x = L.Dense(4096, activation="relu")(x)
    return x, keras.optimizers.Adam()


KERAS = {"mlp": mlp_keras, "cnn": cnn_keras, "cnn3": cnn3_keras, "resnet20": resnet20_keras,
         "vgg16": vgg16_keras}


def keras_model(keras, workload):
    """The workload's compiled model; works for gpukeras, tf_keras and Keras 3 alike."""
    work = WORKLOADS[workload]
    inputs = keras.Input(shape=work.shape)
    features, optimizer = KERAS[work.model](keras, inputs)
    outputs = keras.layers.Dense(work.classes, activation="softmax")(features)
    model = keras.Model(inputs, outputs)
    model.compile(optimizer=optimizer, loss="categorical_crossentropy", metrics=["accuracy"])
    return model


# ------------------------------------------------------------------------------ torch

def mlp_torch(nn):
    return nn.Sequential(nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 10))


def cnn_torch(nn):
    return nn.Sequential(nn.Conv2d(1, 32, 5), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Conv2d(32, 64, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                         nn.Linear(1024, 1000), nn.ReLU(), nn.Linear(1000, 10))


def cnn3_torch(nn):
    return nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.ReLU(),
                         nn.MaxPool2d(2), nn.Dropout(0.25), nn.Flatten(),
                         nn.Linear(4608, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10))


def resnet20_torch(nn):
    def convolve(before, filters, size, stride):
        return [nn.Conv2d(before, filters, size, stride, padding=size // 2),
                nn.BatchNorm2d(filters, eps=1e-3, momentum=0.01)]

    class Block(nn.Module):
        def __init__(self, before, filters, stride):
            super().__init__()
            self.inner = nn.Sequential(*convolve(before, filters, 3, stride), nn.ReLU(),
                                       *convolve(filters, filters, 3, 1))
            self.past = nn.Sequential(*(convolve(before, filters, 1, 2) if stride == 2 else []))
            self.relu = nn.ReLU()

        def forward(self, x):
            return self.relu(self.inner(x) + self.past(x))

    layers, before = [*convolve(3, RESNET_STAGES[0], 3, 1), nn.ReLU()], RESNET_STAGES[0]
    for stage, filters in enumerate(RESNET_STAGES):
        for block in range(RESNET_BLOCKS):
            layers.append(Block(before, filters, 2 if stage and not block else 1))
            before = filters
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, 10))


def vgg16_torch(nn):
    layers, before = [], 3
    for count, filters in VGG_BLOCKS:
        for _ in range(count):
            layers += [nn.Conv2d(before, filters, 3, padding=1), nn.ReLU()]
            before = filters
        layers.append(nn.MaxPool2d(2))
    layers += [nn.Flatten(), nn.Linear(before * 49, 4096), nn.ReLU(),
               nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 1000)]
    return nn.Sequential(*layers)


TORCH = {"mlp": mlp_torch, "cnn": cnn_torch, "cnn3": cnn3_torch, "resnet20": resnet20_torch,
         "vgg16": vgg16_torch}


def torch_model(torch, workload, device):
    """The same model in torch, channels first; returns (module, optimizer)."""
    net = TORCH[WORKLOADS[workload].model](torch.nn).to(device)
    if workload == "mlp":
        return net, torch.optim.RMSprop(net.parameters(), lr=1e-3, alpha=0.9, eps=1e-7)
    return net, torch.optim.Adam(net.parameters(), eps=1e-7)
