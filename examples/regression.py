"""Find the line y = 0.5 x + 2 in noisy points, one batch at a time with train_on_batch."""
import numpy as np

from gpukeras.layers import Dense
from gpukeras.models import Sequential

np.random.seed(1337)
rng = np.random.RandomState(1337)
x = np.linspace(-2, 2, 200)
rng.shuffle(x)
y = 0.5 * x + 2 + rng.normal(0, 0.05, 200)
x_train, y_train = x[:160], y[:160]
x_test, y_test = x[160:], y[160:]

model = Sequential([Dense(1, input_dim=1)])
model.compile(loss="mse", optimizer="sgd")

for step in range(301):
    cost = model.train_on_batch(x_train, y_train)
    if step % 100 == 0:
        print(f"step {step:3d}: cost {cost:.5f}")

cost = model.evaluate(x_test, y_test, batch_size=40, verbose=0)
weight, bias = model.layers[0].get_weights()
print(f"test cost {cost:.5f}; found y = {weight.item():.3f} x + {bias.item():.3f}")
