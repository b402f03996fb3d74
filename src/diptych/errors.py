"""Every exception that diptych raises on purpose.

::

    DiptychError
    ├── InvalidArgument (ValueError)       a call that cannot mean anything
    │   ├── DocumentError                  empty document, duplicate ids, metadata that is not JSON
    │   ├── FilterError                    unknown operator, malformed filter
    │   ├── MediaError                     unreadable, unsupported, oversized or changed picture
    │   └── VectorError                    wrong shape, wrong dimension, NaN, zero vector
    ├── EncoderMismatch (ValueError)       the index was built with another model
    ├── MissingExtra (ImportError)         an optional package is not installed
    ├── NotFitted (RuntimeError)           an aligner or fusion model used before ``fit``
    └── StorageError (OSError)             the folder could not be read or written
        ├── LockedError                    another process is writing to it
        ├── Conflict                       others kept changing the same documents
        ├── FormatError                    not an index, or one of a newer diptych
        ├── CorruptionError                the stored files contradict each other
        └── ClosedError                    the index has been closed

Each class also derives from the builtin that it refines, so ``except ValueError`` keeps working.
A message says what failed, what was given, what was expected and what to do.
"""

__all__ = [
    "ClosedError",
    "Conflict",
    "CorruptionError",
    "DiptychError",
    "DocumentError",
    "EncoderMismatch",
    "FilterError",
    "FormatError",
    "InvalidArgument",
    "LockedError",
    "MediaError",
    "MissingExtra",
    "NotFitted",
    "StorageError",
    "VectorError",
]


class DiptychError(Exception):
    """The root of every exception that diptych raises on purpose."""


class InvalidArgument(DiptychError, ValueError):
    """An argument has a value with which the call cannot mean anything."""


class DocumentError(InvalidArgument):
    """A document is empty, shares its id with another one, or has unusable metadata."""


class FilterError(InvalidArgument):
    """A metadata filter has an unknown operator or a malformed operand."""


class MediaError(InvalidArgument):
    """A picture cannot be read, is of an unsupported kind, too large, or not what it was."""


class VectorError(InvalidArgument):
    """A vector has the wrong shape or dimension, or holds values that cannot be compared."""


class EncoderMismatch(DiptychError, ValueError):
    """An index is opened with another model than the one that filled it."""


class MissingExtra(DiptychError, ImportError):
    """A feature needs packages that are not installed; the message names the extra."""


class NotFitted(DiptychError, RuntimeError):
    """A model that learns from pairs is used before it has been fitted."""


class StorageError(DiptychError, OSError):
    """The folder of an index could not be read or written."""


class LockedError(StorageError):
    """Another process is writing to the folder, or a repair would need it for itself."""


class Conflict(StorageError):
    """A change was prepared on a state that others have changed since; nothing of it is stored."""


class FormatError(StorageError):
    """The folder holds no diptych index, or one that a newer version has written."""


class CorruptionError(StorageError):
    """Files of an index are missing, damaged or contradict the database."""


class ClosedError(StorageError):
    """The index has been closed."""
