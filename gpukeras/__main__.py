"""python -m gpukeras: old Keras scripts, unchanged, and questions about model files.

    python -m gpukeras script.py [arguments]     run a Keras 2 script on gpukeras
    python -m gpukeras doctor model.h5           what the file holds, whether it loads and predicts
    python -m gpukeras summary model.h5          the table of its layers
    python -m gpukeras convert old.h5 new.h5     as Keras 2.3.1 writes it; to new.onnx the model for
                                                 ONNX, to new.safetensors its weights alone
    python -m gpukeras info                      versions, device, and why this device
"""
import sys


def main(arguments):
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0 if arguments else 2
    command, *rest = arguments
    from . import compat
    from .compat import doctor
    wanted = {"doctor": 1, "summary": 1, "convert": 2, "info": 0}.get(command)
    if wanted is None:
        compat.run(command, rest)
        return 0
    if len(rest) != wanted:
        print(f"gpukeras {command}: got {len(rest)} arguments, expected {wanted}\n{__doc__}")
        return 2
    try:
        return getattr(doctor, command)(*rest) or 0
    except (OSError, ValueError, TypeError, ImportError) as error:
        print(f"gpukeras {command}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
