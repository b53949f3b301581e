"""Make the golden files of this folder from the true Keras 2.3.1.

The files are committed; running this is only needed to add cases.  Set-up, anywhere outside the
repository (Python 3.7 is the last one that TensorFlow 1.15 runs on):

    python3.7 -m venv oracle
    oracle/bin/pip install keras==2.3.1 tensorflow==1.15.5 h5py==2.10.0 numpy==1.18.5 \
        protobuf==3.20.3 scipy==1.4.1
    oracle/bin/python tests/golden/generate.py              # everything
    oracle/bin/python tests/golden/generate.py layers text  # some topics

Each topic is one module of `oracle/` and gives <topic>.json (facts: configs, names, texts) and
<topic>.npz (arrays `case/name`).  `reader.py` reads them under any Python.
"""
import importlib
import os
import sys
import warnings

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('OMP_NUM_THREADS', '1')
warnings.filterwarnings('ignore')

TOPICS = ('layers', 'more_layers', 'conv_lstm', 'pieces', 'training', 'text', 'files', 'mistakes',
          'projects', 'generators', 'ctc', 'recurrent', 'api', 'recipes', 'zoo', 'lambdas',
          'applications', 'forecasts')


def main(topics):
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import keras
    import tensorflow as tf
    tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.ERROR)
    if keras.__version__ != '2.3.1':
        raise SystemExit('this needs keras 2.3.1, got ' + keras.__version__)
    for topic in topics or TOPICS:
        keras.backend.clear_session()
        importlib.import_module('oracle.' + topic).generate()


if __name__ == '__main__':
    main(sys.argv[1:])
