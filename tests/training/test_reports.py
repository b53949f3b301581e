"""Callbacks that write elsewhere: backup, TensorBoard, remote monitor, tqdm."""
import glob
import http.server
import io
import json
import os
import pickle
import threading
import urllib.parse

import numpy as np
import pytest
from crash import Crash

from gpukeras import backend as K
from gpukeras import callbacks as C
from gpukeras.layers import Dense, Dropout, Embedding, Flatten
from gpukeras.models import Sequential
from gpukeras.optimizers import Adam

X = np.random.RandomState(0).uniform(-1, 1, (20, 3)).astype("float32")
Y = (X @ np.array([[1.0], [2.0], [-1.0]], "float32")) + 0.5


def regression():
    K.clear_session()
    np.random.seed(7)
    model = Sequential([Dense(6, activation="tanh", input_shape=(3,), name="hidden"), Dropout(0.3),
                        Dense(1, name="out")])
    model.compile(Adam(0.01), "mse", metrics=["mae"])
    return model


# ---------------------------------------------------------------- backup

def callbacks(*more):
    plateau = C.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=10.0)
    return [plateau, *more]


@pytest.mark.parametrize("epoch", [0, 1, 4])
def test_a_resumed_training_has_the_bits_of_an_uninterrupted_one(tmp_path, epoch):
    arguments = {"batch_size": 6, "epochs": 6, "validation_split": 0.2, "verbose": 0}
    whole = regression()
    expected = whole.fit(X, Y, callbacks=callbacks(), **arguments)
    first = regression()
    with pytest.raises(KeyboardInterrupt):
        interrupted = callbacks(C.BackupAndRestore(tmp_path), Crash(epoch, 1))
        first.fit(X, Y, callbacks=interrupted, **arguments)
    again = regression()
    history = again.fit(X, Y, callbacks=callbacks(C.BackupAndRestore(tmp_path)), **arguments)
    assert [a.tobytes() for a in again.get_weights()] == [a.tobytes() for a in whole.get_weights()]
    assert history.history == expected.history and history.epoch == expected.epoch
    assert os.listdir(tmp_path) == []


def test_a_backup_is_kept_if_wanted_and_runs_nothing(tmp_path):
    keep = C.BackupAndRestore(tmp_path, delete_checkpoint=False)
    regression().fit(X, Y, epochs=2, verbose=0, callbacks=[keep])
    model = regression()
    history = model.fit(X, Y, epochs=3, verbose=0, callbacks=[keep])
    assert history.epoch == [0, 1, 2]
    with open(keep.path, "wb") as file:
        pickle.dump({"epoch": os.system}, file)
    with pytest.raises(ValueError, match="cannot be read.*system"):
        model.fit(X, Y, epochs=3, verbose=0, callbacks=[keep])


# ---------------------------------------------------------------- TensorBoard

def events(folder):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = accumulator.EventAccumulator(str(folder), size_guidance={"images": 0})
    found.Reload()
    return found


def test_tensorboard_reads_scalars_graph_histograms_and_pictures(tmp_path):
    pytest.importorskip("tensorboard")
    model = regression()
    board = C.TensorBoard(str(tmp_path), histogram_freq=1, write_images=True, write_grads=True)
    history = model.fit(X, Y, epochs=2, validation_split=0.2, verbose=0, callbacks=[board]).history
    found = events(tmp_path)
    for name in ("loss", "mae", "val_loss", "val_mae"):
        values = [(e.step, e.value) for e in found.Scalars(name)]
        assert [step for step, _ in values] == [0, 1]
        np.testing.assert_allclose([v for _, v in values], history[name], rtol=1e-6)
    kernel = model.get_weights()[0]
    last = found.Histograms("hidden/kernel_0")[-1].histogram_value
    assert last.num == kernel.size and last.max == pytest.approx(kernel.max())
    assert last.sum == pytest.approx(kernel.sum(dtype="float64"), rel=1e-5)
    assert {"hidden_out", "out_out", "hidden/kernel_0_grad"} <= set(found.Tags()["histograms"])
    graph = found.Graph()
    assert {n.name: list(n.input) for n in graph.node}["out"] == [model.layers[1].name]
    picture = found.Images("hidden/kernel_0_image/0")[0]
    assert (picture.height, picture.width) == (3, 6)
    image = pytest.importorskip("PIL.Image")
    assert image.open(io.BytesIO(picture.encoded_image_string)).size == (6, 3)


def test_tensorboard_writes_batches_by_samples_seen(tmp_path):
    pytest.importorskip("tensorboard")
    regression().fit(X, Y, batch_size=4, verbose=0, callbacks=[
        C.TensorBoard(str(tmp_path), update_freq=8, write_graph=False)])
    steps = [e.step for e in events(tmp_path).Scalars("loss")]
    assert steps == [8, 16, 20]


def test_tensorboard_writes_embeddings(tmp_path):
    pytest.importorskip("tensorboard")
    K.clear_session()
    model = Sequential([Embedding(5, 2, input_length=3, name="words"), Flatten(), Dense(1)])
    model.compile("sgd", "mse")
    words = np.arange(12).reshape(4, 3) % 5
    model.fit(words, Y[:4], verbose=0, callbacks=[
        C.TensorBoard(str(tmp_path), embeddings_freq=1, embeddings_data=words,
                      embeddings_metadata={"words": "labels.tsv"})])
    config = (tmp_path / "projector_config.pbtxt").read_text()
    assert 'tensor_path: "words_0.tsv"' in config and 'metadata_path: "labels.tsv"' in config
    assert np.loadtxt(tmp_path / "words_0.tsv").shape == (4, 6)
    assert len(glob.glob(str(tmp_path / "events*"))) == 1


# ---------------------------------------------------------------- remote monitor, tqdm

@pytest.fixture
def server():
    """A web server on this machine that notes what is posted."""
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            seen.append((self.path, self.headers["Content-Type"], self.headers.get("X-Key"), body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    http_server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http_server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{http_server.server_port}", seen
    http_server.shutdown()
    http_server.server_close()


def test_remote_monitor_posts_the_logs(server):
    root, seen = server
    history = regression().fit(X, Y, verbose=0, callbacks=[
        C.RemoteMonitor(root, headers={"X-Key": "1"}),
        C.RemoteMonitor(root, path="/json", send_as_json=True)]).history
    expected = {"epoch": 0, "loss": history["loss"][0], "mae": history["mae"][0]}
    (path, _, key, form), (json_path, kind, _, body) = seen
    assert (path, json_path, key, kind) == ("/publish/epoch/end/", "/json", "1", "application/json")
    assert json.loads(urllib.parse.parse_qs(form)["data"][0]) == expected == json.loads(body)


def test_remote_monitor_without_server_warns():
    with pytest.warns(UserWarning, match="could not reach"):
        regression().fit(X, Y, verbose=0, callbacks=[C.RemoteMonitor("http://127.0.0.1:9")])


def test_tqdm_bars_reach_their_end():
    pytest.importorskip("tqdm")
    screen = io.StringIO()
    regression().fit(X, Y, batch_size=5, epochs=3, verbose=0, callbacks=[
        C.TqdmProgress(file=screen, mininterval=0)])
    text = screen.getvalue()
    assert "3/3" in text and "loss=" in text and "20/20" in text
