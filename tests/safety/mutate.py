"""Broken model files: bytes of an HDF5 file changed at random, configurations turned around."""
import contextlib
import copy
import itertools
import json

STRANGE = (None, True, -1, 0, 1e308, float("nan"), 10 ** 12, 2 ** 63, "", "x" * 500, "\x00", [],
           {}, [None], [[[]]], {"class_name": "Dense"}, {"class_name": "Dense", "config": None},
           "Dense", ["__import__('os').system('touch hit')"], {"value": {"value": {}}})


def mutated_bytes(data, rng):
    """`data` with flipped, filled, cut or moved bytes."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(len(data))
        kind = rng.randrange(6)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at] = rng.randrange(256)
        elif kind == 2:
            data[at:at + 8] = b"\xff" * len(data[at:at + 8])
        elif kind == 3:
            data[at:at + 8] = rng.randrange(1 << 40).to_bytes(8, "little")[:len(data[at:at + 8])]
        elif kind == 4:
            other = rng.randrange(len(data))
            data[at:at + 64] = data[other:other + len(data[at:at + 64])].ljust(
                len(data[at:at + 64]), b"\0")
        else:
            del data[max(at, len(data) // 2):]
    return bytes(data)


def places(value, path=()):
    """Paths of all values inside a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(
        value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def at(value, path):
    for key in path:
        value = value[key]
    return value


def deep(n):
    """A list in a list in a list ..."""
    value = []
    for _ in range(n):
        value = [value]
    return value


def mutated_config(config, rng):
    """The configuration with some values, keys or whole branches exchanged; a JSON text."""
    config = copy.deepcopy(config)
    with contextlib.suppress(RecursionError):      # deep enough, and for json.dumps too
        _change(config, rng)
    try:
        text = json.dumps(config)
    except RecursionError:
        text = "[" * 100_000
    if rng.random() < 0.1:
        text = text[:rng.randrange(len(text))]
    elif rng.random() < 0.02:
        text = "[" * 100_000
    return text


def _change(config, rng):
    for _ in range(rng.choice((1, 1, 2, 5))):
        paths = [p for p in itertools.islice(places(config), 3000) if p]
        if not paths:
            break
        path = rng.choice(paths)
        holder, key = at(config, path[:-1]), path[-1]
        kind = rng.randrange(6)
        if kind == 0:
            holder[key] = copy.deepcopy(rng.choice(STRANGE))
        elif kind == 1:
            del holder[key]
        elif kind == 2 and isinstance(holder, dict):
            name = rng.choice(("name", "config", "class_name", "units", "\u2028"))
            holder[name] = holder.pop(key)
        elif kind == 3:
            holder[key] = copy.deepcopy(at(config, rng.choice(paths)))
        elif kind == 4 and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        else:
            holder[key] = deep(rng.choice((3, 50, 400)))
