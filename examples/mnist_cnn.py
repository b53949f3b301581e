"""A convolutional network on MNIST: 98.5 to 99 % of the test digits after one epoch."""
import argparse

import numpy as np

from gpukeras.datasets import mnist
from gpukeras.layers import Conv2D, Dense, Flatten, MaxPooling2D
from gpukeras.models import Sequential
from gpukeras.utils import to_categorical

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--epochs", type=int, default=1)
parser.add_argument("--batch-size", type=int, default=128)
parser.add_argument("--samples", type=int, default=60000, help="train on the first SAMPLES digits")
parser.add_argument("--data", default="mnist.npz", help="file in ~/.keras/datasets, or a path")
args = parser.parse_args()
np.random.seed(0)                                     # the same weights in every run

(x_train, y_train), (x_test, y_test) = mnist.load_data(args.data)
x_train = x_train[:args.samples].reshape(-1, 28, 28, 1).astype("float32") / 255
x_test = x_test.reshape(-1, 28, 28, 1).astype("float32") / 255
y_train = to_categorical(y_train[:args.samples], 10)
y_test = to_categorical(y_test, 10)

model = Sequential()
model.add(Conv2D(32, (5, 5), activation="relu", input_shape=(28, 28, 1)))
model.add(MaxPooling2D((2, 2)))
model.add(Conv2D(64, (5, 5), activation="relu"))
model.add(MaxPooling2D((2, 2)))
model.add(Flatten())
model.add(Dense(1000, activation="relu"))
model.add(Dense(10, activation="softmax"))
model.summary()

model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
model.fit(x_train, y_train, batch_size=args.batch_size, epochs=args.epochs)
loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
print(f"test loss {loss:.4f}, test accuracy {accuracy:.4f}")
