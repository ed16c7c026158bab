"""The error family: every message says what was wrong, what was given and what would do."""


class QwenSegError(Exception):
    """Base of every error this package raises on purpose."""


class InvalidInputError(QwenSegError, ValueError):
    """A value from outside (image, camera, instruction, mask) cannot be used as it is."""


class SettingsError(QwenSegError, ValueError):
    """A setting or parameter is unknown, of the wrong type or outside its range."""


class CheckpointError(QwenSegError):
    """A model folder is missing, incomplete or damaged; the message names the file."""


class MissingExtraError(QwenSegError, ImportError):
    """An optional dependency is absent; the message says what to install."""


class StoppedError(QwenSegError):
    """The caller took a request back, or its time ran out; the message says how far the work had come."""


class OutOfMemoryError(QwenSegError):
    """The accelerator ran out of memory while serving a request."""
