"""Train a small CNN on 1797 handwritten digits (8 x 8 pixels) that come with the package.

Prints the device, the model and its accuracy; writes digits.h5 (the model), digits_curves.png and
digits_predictions.png.
"""
import time

import matplotlib
import numpy as np

from gpukeras.datasets import digits
from gpukeras.layers import Conv2D, Dense, Dropout, Flatten, MaxPooling2D
from gpukeras.models import Sequential, load_model
from gpukeras.utils import plot_history, to_categorical

matplotlib.use("Agg")                                 # draws into files, needs no screen
import matplotlib.pyplot as plt

np.random.seed(0)
(x_train, y_train), (x_test, y_test) = digits.load_data()
x_train = x_train.reshape(-1, 8, 8, 1).astype("float32") / 16
x_test = x_test.reshape(-1, 8, 8, 1).astype("float32") / 16

model = Sequential([
    Conv2D(32, (3, 3), padding="same", activation="relu", input_shape=(8, 8, 1)),
    Conv2D(64, (3, 3), padding="same", activation="relu"),
    MaxPooling2D((2, 2)),
    Dropout(0.25),
    Flatten(),
    Dense(128, activation="relu"),
    Dropout(0.5),
    Dense(10, activation="softmax")])
model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
model.summary()

start = time.time()
history = model.fit(x_train, to_categorical(y_train, 10), batch_size=32, epochs=12,
                    validation_split=0.1)
print(f"trained in {time.time() - start:.1f} s")
loss, accuracy = model.evaluate(x_test, to_categorical(y_test, 10), verbose=0)
print(f"test accuracy: {accuracy:.4f} ({len(x_test)} digits that were not trained on)")

model.save("digits.h5")
plot_history(history, "digits_curves.png")
predicted = load_model("digits.h5").predict(x_test).argmax(axis=-1)

figure, cells = plt.subplots(4, 10, figsize=(9, 4.4), layout="constrained")
for cell, image, label, guess in zip(cells.flat, x_test, y_test, predicted):
    cell.imshow(image[..., 0], cmap="gray_r")
    cell.set_title(guess, fontsize=16, color="green" if guess == label else "red")
    cell.axis("off")
figure.suptitle("test digits and what the model reads (red: wrong)")
figure.savefig("digits_predictions.png", dpi=80)
print("wrote digits.h5, digits_curves.png, digits_predictions.png")
