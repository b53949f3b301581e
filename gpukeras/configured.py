"""Objects that remember their arguments, and what an identifier in a user's call stands for."""


class Configured:
    """Base of what is rebuilt from its own arguments: `cls.from_config(x.get_config())`."""

    _kept = ()

    def keep(self, **arguments):
        """Set each argument as an attribute and make it part of the config, in this order."""
        for name, value in arguments.items():
            setattr(self, name, value)
        self._kept = (*self._kept, *arguments)

    def get_config(self):
        """The constructor's arguments by name."""
        return {name: getattr(self, name) for name in self._kept}

    @classmethod
    def from_config(cls, config):
        """A new object with the arguments of `config`."""
        return cls(**config)


def interpret(identifier, deserialize, kind):
    """The object for a name, a {"class_name", "config"} dict or a callable (taken as it is).

    Names of classes and of factory functions are called without arguments.
    """
    if isinstance(identifier, str):
        identifier = {"class_name": identifier, "config": {}}
    if isinstance(identifier, dict):
        return deserialize(identifier)
    if callable(identifier):
        return identifier
    raise ValueError(f"Could not interpret {kind} identifier: {identifier!r}; expected a name, "
                     "a dict with 'class_name' and 'config', or a callable.")
