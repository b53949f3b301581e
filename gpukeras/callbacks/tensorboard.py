"""TensorBoard: logs in its files, written by the package `tensorboard`, without TensorFlow."""
import os
import struct
import sys
import types
import zlib

import numpy as np

from .. import backend as K
from ..devices import on_host
from ..utils.generic_utils import to_list
from .base import Callback


class TensorBoard(Callback):
    """Writes logs that `tensorboard --logdir` shows.

    # Arguments
        log_dir: folder for the logs; one per run.
        histogram_freq: histograms of weights and layer outputs after every so many epochs, 0 for
            none; outputs need validation data.
        batch_size: samples at a time for the layer outputs.
        write_graph: the layers as a graph.
        write_grads: histograms of the gradients of the loss, with `histogram_freq`.
        write_images: weights as pictures, with `histogram_freq`.
        embeddings_freq: outputs of embedding layers for `embeddings_data` after every so many
            epochs.
        embeddings_layer_names: the layers, all Embedding layers if not given.
        embeddings_metadata: file name, or dict layer name -> file name, of labels for the
            projector.
        embeddings_data: array, or list of arrays for several inputs.
        update_freq: "epoch", "batch", or a number of samples after which to write loss and metrics.
    """

    writes = True

    def __init__(self, log_dir="./logs", histogram_freq=0, batch_size=32, write_graph=True,
                 write_grads=False, write_images=False, embeddings_freq=0,
                 embeddings_layer_names=None, embeddings_metadata=None, embeddings_data=None,
                 update_freq="epoch"):
        super().__init__()
        self.log_dir, self.histogram_freq = os.fspath(log_dir), histogram_freq
        self.batch_size, self.write_graph, self.write_grads = batch_size, write_graph, write_grads
        self.write_images, self.embeddings_freq = write_images, embeddings_freq
        self.embeddings_layer_names = embeddings_layer_names
        self.embeddings_metadata = embeddings_metadata or {}
        self.embeddings_data = embeddings_data
        self.update_freq = 1 if update_freq == "batch" else update_freq
        self.samples_seen = self.samples_seen_at_last_write = 0
        self.writer = None

    def on_train_begin(self, logs=None):
        if self.histogram_freq and not self.validation_data and self.write_grads:
            raise ValueError("Gradient histograms need data: give fit validation_data or "
                             "validation_split, or write_grads=False.")
        self.writer = _writer(self.log_dir)
        if self.write_graph:
            self.writer.add_event(_event(graph_def=_graph(self.model).SerializeToString()))

    def on_batch_end(self, batch, logs=None):
        if self.update_freq == "epoch":
            return
        self.samples_seen += logs["size"]
        if self.samples_seen - self.samples_seen_at_last_write >= self.update_freq:
            self._write_scalars(logs, self.samples_seen)
            self.samples_seen_at_last_write = self.samples_seen

    def on_epoch_end(self, epoch, logs=None):
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            self._write_weights(epoch)
        if self.embeddings_freq and epoch % self.embeddings_freq == 0:
            self._write_embeddings(epoch)
        self._write_scalars(logs or {}, epoch if self.update_freq == "epoch" else self.samples_seen)
        self.writer.flush()

    def on_train_end(self, logs=None):
        self.writer.close()

    # ---- parts

    def _write_scalars(self, logs, step):
        from tensorboard.compat.proto.summary_pb2 import Summary
        values = [Summary.Value(tag=name, simple_value=float(np.mean(value)))
                  for name, value in logs.items() if name not in ("batch", "size", "num_steps")]
        self.writer.add_event(_event(step, summary=Summary(value=values)))

    def _write_weights(self, epoch):
        from tensorboard.compat.proto.summary_pb2 import Summary
        values = []
        for layer in self.model.layers:
            for weight in layer.weights:
                name, array = weight.name.replace(":", "_"), K.get_value(weight)
                values.append(Summary.Value(tag=name, histo=_histogram(array)))
                if self.write_images:
                    values += [Summary.Value(tag=f"{name}_image/{i}", image=image)
                               for i, image in enumerate(_images(array))]
        for name, array in self._computed():
            values.append(Summary.Value(tag=name, histo=_histogram(array)))
        self.writer.add_event(_event(epoch, summary=Summary(value=values)))

    def _computed(self):
        """(tag, array) of layer outputs and gradients on the validation data."""
        held = self.validation_data
        if not held or any(K.is_tensor(x) for x in held):
            return []
        model = self.model
        feeds = list(model._feed_inputs)
        outputs = [(layer, getattr(layer, "output", [])) for layer in model.layers]
        found = [(f"{layer.name}_out", y) for layer, ys in outputs for y in to_list(ys)]
        if self.write_grads:
            weights = list(model.trainable_weights)
            found += [(f"{w.name.replace(':', '_')}_grad", g)
                      for w, g in zip(weights, K.gradients(model.total_loss, weights), strict=True)]
            feeds += [t for t in model.targets if t is not None and K.is_placeholder(t)]
            feeds += [w for w in model.sample_weights if w is not None]
        inputs = [on_host(x[:self.batch_size]) for x in held[:len(feeds)]]
        arrays = K.function(feeds, [tensor for _, tensor in found])(inputs)
        return list(zip((name for name, _ in found), arrays, strict=True))

    def _write_embeddings(self, epoch):
        """A table per layer, and the file that tells the projector of them."""
        names = self.embeddings_layer_names or [
            layer.name for layer in self.model.layers if type(layer).__name__ == "Embedding"]
        if not names:
            return
        if self.embeddings_data is None:
            raise ValueError("To visualize embeddings, embeddings_data must be provided.")
        data = self.embeddings_data
        data = list(data) if isinstance(data, (list, tuple)) else [data]
        outputs = [self.model.get_layer(name).output for name in names]
        arrays = K.function(list(self.model._feed_inputs), outputs)(data)
        lines = []
        for name, array in zip(names, arrays, strict=True):
            table = f"{name}_{epoch}.tsv"
            np.savetxt(os.path.join(self.log_dir, table), array.reshape(len(array), -1),
                       delimiter="\t", fmt="%.6g")
            metadata = self.embeddings_metadata
            metadata = metadata.get(name) if isinstance(metadata, dict) else metadata
            label = f'  metadata_path: "{metadata}"\n' if metadata else ""
            lines.append(f'embeddings {{\n  tensor_name: "{name}"\n  tensor_path: "{table}"\n'
                         f"{label}}}\n")
        with open(os.path.join(self.log_dir, "projector_config.pbtxt"), "w",
                  encoding="utf-8") as file:
            file.writelines(lines)


def _writer(log_dir):
    # tensorboard asks for this module when it decides not to use TensorFlow, of which there may be
    # an installation that is slow to load, or a stand-in
    sys.modules.setdefault("tensorboard.compat.notf", types.ModuleType("notf"))
    try:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError:
        raise ImportError("The TensorBoard callback needs the package tensorboard. "
                          "Try: pip install tensorboard") from None
    return EventFileWriter(log_dir)


def _event(step=0, **content):
    import time

    from tensorboard.compat.proto.event_pb2 import Event
    return Event(wall_time=time.time(), step=step, **content)


def _histogram(array, bins=30):
    """The values of an array as a histogram; those that are not finite are left out."""
    from tensorboard.compat.proto.summary_pb2 import HistogramProto
    values = np.asarray(array, "float64").ravel()
    values = values[np.isfinite(values)]
    if not values.size:
        values = np.zeros(1)
    counts, edges = np.histogram(values, bins)
    return HistogramProto(min=values.min(), max=values.max(), num=values.size, sum=values.sum(),
                          sum_squares=np.square(values).sum(), bucket_limit=edges[1:].tolist(),
                          bucket=counts.tolist())


def _images(array, most=3):
    """Up to three pictures of a weight: a vector as a line, kernels (h, w, in, out) one by one."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    array = np.squeeze(np.asarray(array, "float64"))
    if array.ndim in (0, 1):
        array = array.reshape(1, -1)
    if array.ndim > 2:
        array = np.moveaxis(array.reshape(*array.shape[:2], -1), -1, 0)
    else:
        array = array[None]
    low, high = array.min(), array.max()
    grey = np.uint8(np.round((array - low) / ((high - low) or 1) * 255))
    return [Summary.Image(height=p.shape[0], width=p.shape[1], colorspace=1,
                          encoded_image_string=_png(p)) for p in grey[:most]]


def _png(grey):
    """A grey picture (h, w) of bytes as a PNG file."""
    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    height, width = grey.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    lines = b"".join(b"\0" + row.tobytes() for row in grey)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines))
            + chunk(b"IEND", b""))


def _graph(model):
    """The layers of a model as TensorBoard's graph, a node each."""
    from tensorboard.compat.proto.graph_pb2 import GraphDef
    graph = GraphDef()
    inner = {id(layer) for layer in model.layers}
    for layer in model.layers:
        node = graph.node.add(name=layer.name, op=type(layer).__name__)
        for call in layer._inbound_nodes:
            for source in call.inbound_layers:
                if source is not None and id(source) in inner and source.name not in node.input:
                    node.input.append(source.name)
    return graph
