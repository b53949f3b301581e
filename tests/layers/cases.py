"""One row, or a few, for each layer: see check_layer.Case."""
from check_layer import Case

from gpukeras import layers as L

IMAGE, VOLUME, SEQUENCE, VECTOR = (2, 6, 7, 3), (2, 4, 5, 4, 2), (3, 8, 3), (3, 4)


def row(make, *shapes, **options):
    settings = {name: options.pop(name) for name in ("smooth", "random", "low", "high", "integers")
                if name in options}
    return Case(make, shapes, options, **settings)


def dense():
    return L.Dense(2, activation="tanh")


def conv():
    return L.Conv2D(2, 3)


def lstm():
    return L.LSTM(2, return_sequences=True)


CORE = [
    row(L.Dense, VECTOR, units=5, activation="tanh"),
    row(L.Dense, SEQUENCE, units=2, use_bias=False, kernel_regularizer="l2"),
    row(L.Dense, IMAGE, units=2, activation="softmax", kernel_constraint="max_norm"),
    row(L.Activation, VECTOR, activation="sigmoid"),
    row(L.Dropout, VECTOR, rate=0.3, random=True),
    row(L.Dropout, SEQUENCE, rate=0.3, noise_shape=(None, 1, 3), seed=2, random=True),
    row(L.SpatialDropout1D, SEQUENCE, rate=0.5, random=True),
    row(L.SpatialDropout2D, IMAGE, rate=0.5, random=True),
    row(L.SpatialDropout3D, VOLUME, rate=0.5, random=True),
    row(L.Flatten, IMAGE),
    row(L.Flatten, IMAGE, data_format="channels_first"),
    row(L.Reshape, SEQUENCE, target_shape=(4, 6)),
    row(L.Reshape, SEQUENCE, target_shape=(2, -1, 2)),
    row(L.Permute, SEQUENCE, dims=(2, 1)),
    row(L.RepeatVector, VECTOR, n=3),
    row(L.ActivityRegularization, VECTOR, l1=0.5, l2=0.25),
    row(L.Masking, SEQUENCE, mask_value=0.5),
]
CONVOLUTIONS = [
    row(L.Conv1D, SEQUENCE, filters=4, kernel_size=3),
    row(L.Conv1D, SEQUENCE, filters=2, kernel_size=2, padding="causal", dilation_rate=2),
    row(L.Conv1D, SEQUENCE, filters=2, kernel_size=3, padding="same", data_format="channels_first"),
    row(L.Conv2D, IMAGE, filters=4, kernel_size=(3, 2), strides=(2, 1), activation="tanh"),
    row(L.Conv2D, IMAGE, filters=2, kernel_size=3, padding="same", use_bias=False),
    row(L.Conv2D, IMAGE, filters=2, kernel_size=2, data_format="channels_first"),
    row(L.Conv3D, VOLUME, filters=2, kernel_size=2, padding="same", strides=2),
]
CONVOLUTIONS += [
    row(L.Conv2DTranspose, IMAGE, filters=2, kernel_size=3, strides=2, padding="same"),
    row(L.Conv2DTranspose, IMAGE, filters=2, kernel_size=3, strides=(2, 3), output_padding=(1, 2)),
    row(L.Conv2DTranspose, IMAGE, filters=2, kernel_size=2, data_format="channels_first"),
    row(L.SeparableConv1D, SEQUENCE, filters=2, kernel_size=3, depth_multiplier=2),
    row(L.SeparableConv1D, SEQUENCE, filters=2, kernel_size=2, dilation_rate=2),
    row(L.SeparableConv2D, IMAGE, filters=2, kernel_size=3, strides=2, activation="tanh"),
    row(L.DepthwiseConv2D, IMAGE, kernel_size=2, depth_multiplier=2, padding="same"),
    row(L.DepthwiseConv2D, IMAGE, kernel_size=2, data_format="channels_first"),
    row(L.LocallyConnected1D, SEQUENCE, filters=2, kernel_size=3, strides=2),
    row(L.LocallyConnected2D, IMAGE, filters=2, kernel_size=(2, 3), activation="tanh"),
    row(L.LocallyConnected2D, IMAGE, filters=2, kernel_size=2, data_format="channels_first"),
    row(L.Conv3DTranspose, VOLUME, filters=2, kernel_size=2, strides=2, activation="tanh"),
]
POOLING = [row(getattr(L, f"{kind}Pooling{rank}D"), shape, **options)
           for rank, shape in ((1, SEQUENCE), (2, IMAGE), (3, VOLUME))
           for kind in ("Max", "Average")
           for options in ({}, {"padding": "same", "pool_size": 2, "strides": 1},
                           {"data_format": "channels_first", "pool_size": 2})]
POOLING += [row(getattr(L, f"Global{kind}Pooling{rank}D"), shape, data_format=data_format)
            for rank, shape in ((1, SEQUENCE), (2, IMAGE), (3, VOLUME))
            for kind in ("Max", "Average") for data_format in ("channels_last", "channels_first")]
NORMALIZATION = [
    row(L.BatchNormalization, VECTOR),
    row(L.BatchNormalization, IMAGE, axis=1, epsilon=0.01),
    row(L.BatchNormalization, IMAGE, scale=False, center=False, momentum=0.5),
]
ACTIVATIONS = [
    row(L.LeakyReLU, SEQUENCE, alpha=0.2),
    row(L.PReLU, SEQUENCE),
    row(L.PReLU, SEQUENCE, shared_axes=[1], alpha_initializer="ones"),
    row(L.ELU, SEQUENCE, alpha=0.7),
    row(L.ThresholdedReLU, SEQUENCE, theta=0.5),
    row(L.Softmax, SEQUENCE, axis=1),
    row(L.ReLU, SEQUENCE, max_value=1.5, negative_slope=0.1, threshold=0.25),
]
MERGE = [row(make, SEQUENCE, SEQUENCE)
         for make in (L.Add, L.Subtract, L.Multiply, L.Average, L.Maximum, L.Minimum)]
MERGE += [
    row(L.Add, SEQUENCE, SEQUENCE, SEQUENCE),
    row(L.Multiply, SEQUENCE, (3, 3)),
    row(L.Concatenate, SEQUENCE, (3, 8, 2)),
    row(L.Concatenate, SEQUENCE, (3, 2, 3), axis=1),
    row(L.Dot, SEQUENCE, (3, 8, 2), axes=1),
    row(L.Dot, VECTOR, VECTOR, axes=-1, normalize=True),
    row(L.Dot, SEQUENCE, (3, 2, 3), axes=(2, 2)),
]

NOISE = [
    row(L.GaussianNoise, VECTOR, stddev=0.4, random=True),
    row(L.GaussianDropout, VECTOR, rate=0.3, random=True),
    row(L.AlphaDropout, VECTOR, rate=0.3),
    row(L.AlphaDropout, SEQUENCE, rate=0.3),
]
SPATIAL = [row(getattr(L, f"{kind}{rank}D"), shape, **options)
           for kind, name in (("Cropping", "cropping"), ("ZeroPadding", "padding"),
                              ("UpSampling", "size"))
           for rank, shape in ((1, SEQUENCE), (2, IMAGE), (3, VOLUME))
           for options in ({}, {name: 2 if kind == "UpSampling" else 1})]
SPATIAL += [
    row(L.Cropping2D, IMAGE, cropping=((1, 2), (0, 3)), data_format="channels_last"),
    row(L.Cropping2D, (2, 3, 6, 7), cropping=(1, 2), data_format="channels_first"),
    row(L.ZeroPadding2D, IMAGE, padding=((1, 2), (0, 3))),
    row(L.UpSampling2D, (2, 3, 4, 5), size=(2, 3), data_format="channels_first"),
    row(L.UpSampling2D, IMAGE, size=(2, 3), interpolation="bilinear"),
]
OTHERS = [
    row(L.Embedding, (3, 4), input_dim=5, output_dim=2, low=0, high=5, integers=True),
    row(L.Embedding, (3, 4), input_dim=5, output_dim=2, mask_zero=True, input_length=4, low=0,
        high=5, integers=True),
    row(L.MaxoutDense, VECTOR, output_dim=2, W_regularizer="l2"),
    row(L.Highway, VECTOR, activation="tanh", bias=False),
    row(L.TimeDistributed, SEQUENCE, layer=dense),
    row(L.TimeDistributed, (2, 3, 6, 7, 1), layer=conv),
]

ATTENTION = [
    row(L.LayerNormalization, SEQUENCE),
    row(L.LayerNormalization, IMAGE, axis=[1, 3], epsilon=0.1, scale=False),
    row(L.Attention, SEQUENCE),
    row(L.Attention, SEQUENCE, (3, 5, 3), use_scale=True),
    row(L.Attention, SEQUENCE, (3, 5, 3), (3, 5, 3)),
    row(L.Attention, SEQUENCE, SEQUENCE, causal=True, dropout=0.2),
    row(L.AdditiveAttention, SEQUENCE, (3, 5, 3)),
    row(L.AdditiveAttention, SEQUENCE, (3, 5, 3), use_scale=False),
    row(L.MultiHeadAttention, SEQUENCE, num_heads=2, key_dim=3),
    row(L.MultiHeadAttention, SEQUENCE, (3, 5, 4), num_heads=2, key_dim=3, value_dim=2,
        output_shape=5, use_bias=False),
]

RECURRENT = [
    row(L.SimpleRNN, SEQUENCE, units=2),
    row(L.GRU, SEQUENCE, units=2, return_sequences=True),
    row(L.LSTM, SEQUENCE, units=2, go_backwards=True),
    row(L.Bidirectional, SEQUENCE, layer=lstm, merge_mode="sum"),
    row(L.ConvLSTM2D, (2, 3, 5, 4, 2), filters=2, kernel_size=2, recurrent_activation="sigmoid"),
    row(L.CuDNNLSTM, SEQUENCE, units=2, return_sequences=True),
    row(L.CuDNNGRU, SEQUENCE, units=2),
]

CASES = (CORE + CONVOLUTIONS + POOLING + NORMALIZATION + ACTIVATIONS + MERGE + NOISE + SPATIAL
         + OTHERS + ATTENTION + RECURRENT)

# classes without a row of their own: tested by name elsewhere
ELSEWHERE = {"Layer", "InputLayer", "Lambda", "Wrapper", "RNN", "StackedRNNCells",
             "SimpleRNNCell", "GRUCell", "LSTMCell", "ConvLSTM2DCell", "ConvRNN2D",
             "Operation"}
