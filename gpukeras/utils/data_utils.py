"""Files from the network, kept in Keras's cache folder (~/.keras, or KERAS_HOME)."""
import hashlib
import os
import tarfile
import tempfile
import zipfile

from .generic_utils import Progbar
from .io_utils import atomic_write


def get_file(fname, origin, untar=False, md5_hash=None, file_hash=None, cache_subdir="datasets",
             hash_algorithm="auto", extract=False, archive_format="auto", cache_dir=None):
    """Path of a file in the cache folder, downloaded if it is not there or not the right one.

    # Arguments
        fname: name in the cache; an absolute path is taken as it is.
        origin: URL, or a list of URLs to be tried in turn.
        untar: unpack `fname`.tar.gz and return the path without the ending (use `extract`).
        md5_hash: old name of `file_hash`.
        file_hash: expected md5 or sha256 of the file, in hexadecimal digits.
        cache_subdir: folder inside the cache.
        hash_algorithm: "md5", "sha256" or "auto" (told by the length of the hash).
        extract: unpack the archive beside itself.
        archive_format: "auto", "tar", "zip", None, or a list of them.
        cache_dir: cache folder in place of KERAS_HOME or ~/.keras.

    # Raises
        OSError: no URL gave the right file; a file that was there before is untouched.
    """
    if md5_hash is not None and file_hash is None:
        file_hash, hash_algorithm = md5_hash, "md5"
    target = cache_path(fname, cache_subdir, cache_dir)
    archive = target + ".tar.gz" if untar else target

    def check(path):
        if file_hash is not None and not validate_file(path, file_hash, hash_algorithm):
            raise ValueError(f"its hash is not {file_hash}")

    fetch(archive, origin, check)
    if untar:
        if not os.path.exists(target):
            _extract_archive(archive, os.path.dirname(archive), "tar")
    elif extract:
        _extract_archive(archive, os.path.dirname(archive), archive_format)
    return target


def cache_path(fname, cache_subdir="datasets", cache_dir=None):
    """Where a file is kept; its folder exists afterwards (in the temporary folder if need be)."""
    home = cache_dir or os.environ.get("KERAS_HOME") or os.path.join("~", ".keras")
    target = os.path.join(os.path.expanduser(home), cache_subdir, os.fspath(fname))
    try:
        os.makedirs(os.path.dirname(target), exist_ok=True)
    except OSError:                                                   # a home that is read only
        target = os.path.join(tempfile.gettempdir(), ".keras", cache_subdir, os.fspath(fname))
        os.makedirs(os.path.dirname(target), exist_ok=True)
    return target


def fetch(target, origin, read):
    """What `read(path)` makes of the file at `target`, downloaded first if need be.

    # Arguments
        target: path of the file.
        origin: URL, or a list of URLs to be tried in turn.
        read: function of a path; raises ValueError (with the reason) for a file that is not right.
    """
    if os.path.exists(target):
        try:
            return read(target)
        except ValueError as reason:
            print(f"A local file was found, but {reason}: {target} is downloaded again.")
    failures = []
    for url in [origin] if isinstance(origin, str) else origin:
        try:
            with atomic_write(target) as part:
                _download(url, part)
                value = read(part)
            return value
        except (OSError, ValueError) as error:
            failures.append(f"URL fetch failure on {url}: {_reason(error)}")
    raise OSError("\n".join(failures) + f"\nTry: put the file there by hand, as {target}")


def _reason(error):
    if hasattr(error, "code"):                                        # of HTTP, such as 404
        return f"{error.code} -- {error.msg}"
    return str(getattr(error, "reason", error))


def _download(url, path, chunk=1 << 16, timeout=30):
    import urllib.request                         # takes 40 ms, a twentieth of the time to import

    print("Downloading data from", url)
    request = urllib.request.Request(url, headers={"User-Agent": "gpukeras"})
    with urllib.request.urlopen(request, timeout=timeout) as source, open(path, "wb") as sink:
        size = source.headers.get("Content-Length")
        size = int(size) if size else None
        bar, done = Progbar(size, interval=0.5), 0
        while block := source.read(chunk):
            sink.write(block)
            done += len(block)
            if size is not None:
                bar.update(min(done, size))
    if size is not None and done != size:
        raise OSError(f"got {done} bytes, expected {size}")


# ---------------------------------------------------------------- checks and archives

def validate_file(fpath, file_hash, algorithm="auto", chunk_size=65535):
    """True if the file has this md5 or sha256 (hexadecimal digits)."""
    return _hash_file(fpath, _algorithm(file_hash, algorithm), chunk_size) == str(file_hash)


def _algorithm(file_hash, algorithm):
    if algorithm == "auto":
        return "sha256" if len(file_hash) == 64 else "md5"
    return algorithm


def _hash_file(fpath, algorithm="sha256", chunk_size=65535):
    digest = hashlib.new("md5" if algorithm == "md5" else "sha256", usedforsecurity=False)
    with open(fpath, "rb") as file:
        while block := file.read(chunk_size):
            digest.update(block)
    return digest.hexdigest()


def arrays_checksum(arrays):
    """sha256 of named arrays: of names, dtypes, shapes and values, however the file packs them."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _extract_archive(file_path, path=".", archive_format="auto"):
    """Unpack a tar or zip file into `path`; False if it is neither.

    Members that would land outside of `path` are refused.
    """
    if archive_format is None:
        return False
    formats = ["tar", "zip"] if archive_format == "auto" else archive_format
    for kind in [formats] if isinstance(formats, str) else formats:
        if kind == "tar" and tarfile.is_tarfile(file_path):
            if not hasattr(tarfile, "data_filter"):
                raise OSError(f"cannot unpack {file_path} safely: needs Python 3.10.12 or newer")
            with tarfile.open(file_path) as archive:
                archive.extractall(path, filter="data")
            return True
        if kind == "zip" and zipfile.is_zipfile(file_path):
            with zipfile.ZipFile(file_path) as archive:
                archive.extractall(path)
            return True
    return False
