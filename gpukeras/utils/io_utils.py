"""Files: written whole or not at all."""
import contextlib
import os
import shutil
import uuid

HDF5_OBJECT_HEADER_LIMIT = 64512          # bytes of one attribute; HDF5 itself stops at 64 KiB


@contextlib.contextmanager
def atomic_write(path):
    """Name of a new file beside `path` that takes its place when the block ends well.

        with atomic_write("digits.h5") as part:
            write(part)

    The new file is on the disk (fsync) before it is renamed, so a crash at any instant leaves the
    old file or the new one. If the block raises, the new file is removed and the old one stays.
    """
    target = os.path.realpath(os.fspath(path))                       # a link stays a link
    folder, name = os.path.split(target)
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"cannot write {os.fspath(path)!r}: there is no folder {folder!r}. "
                                f"Try: os.makedirs({folder!r})")
    if os.path.isdir(target):
        raise IsADirectoryError(f"cannot write {os.fspath(path)!r}: it is a folder, expected the "
                                "name of a file")
    part = os.path.join(folder, f".{name[:200]}.{uuid.uuid4().hex}.part")
    os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))      # umask applies
    try:
        yield part
        if os.path.exists(target):
            shutil.copymode(target, part)
        _sync(part, os.O_RDWR)
        os.replace(part, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.remove(part)
        raise
    if os.name != "nt":                                              # Windows cannot open a folder
        _sync(folder, os.O_RDONLY)


def _sync(path, flags):
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def ask_to_proceed_with_overwrite(filepath):
    """Ask on the console whether an existing file may go; True for yes."""
    answer = ""
    while answer not in ("y", "n"):
        answer = input(f"[WARNING] {filepath} already exists - overwrite? [y/n] ").strip().lower()
    return answer == "y"
