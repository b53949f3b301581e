"""The models of the benchmark, in Keras's words and in torch's, and their data.

To add one: a line in WORKLOADS, and for a new model a function `name_keras(keras, inputs)` ->
(outputs, optimizer) and a function `name_torch(nn)` -> module (channels first), named in KERAS and
TORCH below.
"""

from typing import NamedTuple


class Workload(NamedTuple):
    """One line of the table.

    `words` say it; `steps` are those of an epoch; `predicts`: predict_on_batch is timed, not the
    training step in fit; `on`: "both", or the only device that it is meant for; `vocabulary`:
    inputs are numbers of words below it. One class is a regression, or with words a yes or no.
    """

    words: str
    model: str
    shape: tuple
    classes: int
    batch: int
    steps: int
    predicts: bool = False
    on: str = "both"
    vocabulary: int = 0


WORKLOADS = {
    "mlp": Workload("MLP 784-400-10, RMSprop, batch 32", "mlp", (784,), 10, 32, 150),
    "cnn": Workload("CNN 5x5x32, 5x5x64, 1000, 10, Adam, batch 128", "cnn", (28, 28, 1), 10, 128,
                    12),
    "cnn3": Workload("CNN 3x3x32 twice, 128, dropout, Adam, batch 32", "cnn3", (28, 28, 1), 10, 32,
                     30),
    "resnet20": Workload("ResNet-20, 32x32x3, Adam, batch 32", "resnet20", (32, 32, 3), 10, 32, 8),
    "lstm": Workload("LSTM(100), 60 steps, dropout, Adam, batch 100", "lstm", (60, 1), 1, 100, 12),
    "stacked-lstm": Workload("LSTM(100), LSTM(60), 60 steps, Adam, batch 100", "stacked-lstm",
                             (60, 1), 1, 100, 8),
    "embedding-lstm": Workload("Embedding(20000, 128), LSTM(128), 80 steps, b. 32",
                               "embedding-lstm", (80,), 1, 32, 10, vocabulary=20000),
    "gru": Workload("GRU(100), 60 steps, dropout, Adam, batch 100", "gru", (60, 1), 1, 100, 12),
    "lstm-predict": Workload("LSTM(100), 60 steps, inference, batch 100", "lstm", (60, 1), 1, 100,
                             1, True),
    "resnet20-128": Workload("ResNet-20, 32x32x3, Adam, batch 128", "resnet20", (32, 32, 3), 10,
                             128, 8, on="gpu"),
    "resnet20-1024": Workload("ResNet-20, 32x32x3, Adam, batch 1024", "resnet20", (32, 32, 3), 10,
                              1024, 4, on="gpu"),
    "vgg16": Workload("VGG16, 224x224x3, Adam, batch 64", "vgg16", (224, 224, 3), 1000, 64, 2,
                      on="gpu"),
    "vgg16-predict-1": Workload("VGG16 inference, batch 1", "vgg16", (224, 224, 3), 1000, 1, 1,
                                True),
    "vgg16-predict-8": Workload("VGG16 inference, batch 8", "vgg16", (224, 224, 3), 1000, 8, 1,
                                True),
    "dense": Workload("Dense 4096-4096-4096, SGD, batch 4096", "dense", (4096,), 4096, 4096, 4,
                      on="gpu"),
}
RESNET_STAGES, RESNET_BLOCKS = (16, 32, 64), 3     # He et al. 2015, arXiv:1512.03385, section 4.2
VGG_BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))


def arrays(workload):
    """Random inputs and labels: x (N, *shape) float32 or int32, y (N, classes) float32."""
    import numpy as np
    work = WORKLOADS[workload]
    rng = np.random.default_rng(0)
    shape = (work.batch * work.steps,) + work.shape
    x = (rng.integers(0, work.vocabulary, shape, dtype=np.int32) if work.vocabulary
         else rng.random(shape, dtype=np.float32))
    if work.classes == 1:
        y = rng.random((len(x), 1), dtype=np.float32)
        return x, y.round() if work.vocabulary else y
    labels = rng.integers(0, work.classes, work.batch * work.steps)
    return x, np.eye(work.classes, dtype=np.float32)[labels]


# ------------------------------------------------------------------------------ Keras

def mlp_keras(keras, x):
    return keras.layers.Dense(400, activation="relu")(x), keras.optimizers.RMSprop()


def dense_keras(keras, x):
    return keras.layers.Dense(4096, activation="relu")(x), keras.optimizers.SGD()


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


def lstm_keras(keras, x):
    L = keras.layers
    return L.Dropout(0.2)(L.LSTM(100)(x)), keras.optimizers.Adam()


def stacked_lstm_keras(keras, x):
    L = keras.layers
    return L.LSTM(60)(L.LSTM(100, return_sequences=True)(x)), keras.optimizers.Adam()


def embedding_lstm_keras(keras, x):
    L = keras.layers
    return L.LSTM(128)(L.Embedding(20000, 128)(x)), keras.optimizers.Adam()


def gru_keras(keras, x):
    L = keras.layers
    return L.Dropout(0.2)(L.GRU(100)(x)), keras.optimizers.Adam()


KERAS = {"mlp": mlp_keras, "cnn": cnn_keras, "cnn3": cnn3_keras, "resnet20": resnet20_keras,
         "vgg16": vgg16_keras, "dense": dense_keras, "lstm": lstm_keras,
         "stacked-lstm": stacked_lstm_keras, "embedding-lstm": embedding_lstm_keras,
         "gru": gru_keras}


def keras_model(keras, workload):
    """The workload's compiled model; works for gpukeras, tf_keras and Keras 3 alike."""
    work = WORKLOADS[workload]
    inputs = keras.Input(shape=work.shape, dtype="int32" if work.vocabulary else "float32")
    features, optimizer = KERAS[work.model](keras, inputs)
    last, loss, metrics = "softmax", "categorical_crossentropy", ["accuracy"]
    if work.classes == 1:
        last, loss, metrics = (("sigmoid", "binary_crossentropy", metrics) if work.vocabulary else
                               (None, "mean_squared_error", []))
    outputs = keras.layers.Dense(work.classes, activation=last)(features)
    model = keras.Model(inputs, outputs)
    model.compile(optimizer=optimizer, loss=loss, metrics=metrics)
    return model


# ------------------------------------------------------------------------------ torch

def mlp_torch(nn):
    return nn.Sequential(nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 10))


def dense_torch(nn):
    return nn.Sequential(nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 4096))


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


def recurrent_torch(nn, layers, drop=0.2, vocabulary=0):
    """Recurrent layers over all steps; the last state goes on to one number."""
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.words = (nn.Embedding(vocabulary, layers[0].input_size) if vocabulary
                          else nn.Identity())
            self.layers = nn.ModuleList(layers)
            self.head = nn.Sequential(nn.Dropout(drop), nn.Linear(layers[-1].hidden_size, 1))

        def forward(self, x):
            x = self.words(x)
            for layer in self.layers:
                x = layer(x)[0]
            return self.head(x[:, -1])
    return Net()


def lstm_torch(nn):
    return recurrent_torch(nn, [nn.LSTM(1, 100, batch_first=True)])


def stacked_lstm_torch(nn):
    return recurrent_torch(nn, [nn.LSTM(1, 100, batch_first=True),
                                nn.LSTM(100, 60, batch_first=True)], drop=0)


def embedding_lstm_torch(nn):
    return recurrent_torch(nn, [nn.LSTM(128, 128, batch_first=True)], drop=0, vocabulary=20000)


def gru_torch(nn):
    return recurrent_torch(nn, [nn.GRU(1, 100, batch_first=True)])


TORCH = {"mlp": mlp_torch, "cnn": cnn_torch, "cnn3": cnn3_torch, "resnet20": resnet20_torch,
         "vgg16": vgg16_torch, "dense": dense_torch, "lstm": lstm_torch,
         "stacked-lstm": stacked_lstm_torch, "embedding-lstm": embedding_lstm_torch,
         "gru": gru_torch}


def torch_model(torch, workload, device):
    """The same model in torch, channels first; returns (module, optimizer)."""
    net = TORCH[WORKLOADS[workload].model](torch.nn).to(device)
    if workload == "mlp":
        return net, torch.optim.RMSprop(net.parameters(), lr=1e-3, alpha=0.9, eps=1e-7)
    if workload == "dense":
        return net, torch.optim.SGD(net.parameters(), lr=0.01)
    return net, torch.optim.Adam(net.parameters(), eps=1e-7)


def torch_loss(torch, workload):
    """(loss of outputs and y, number of hits of outputs and y or None)"""
    work = WORKLOADS[workload]
    if work.classes > 1:
        return torch.nn.CrossEntropyLoss(), lambda out, y: (out.argmax(1) == y).sum()
    if work.vocabulary:
        return torch.nn.BCEWithLogitsLoss(), lambda out, y: ((out > 0) == (y > 0.5)).sum()
    return torch.nn.MSELoss(), None
