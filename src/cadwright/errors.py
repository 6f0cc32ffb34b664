"""Errors meant for people: each message is one sentence that says what to do or what is wrong."""

from __future__ import annotations


class CadwrightError(Exception):
    """Base of every error this package raises on purpose."""


class InputError(CadwrightError):
    """A file or value handed in by the user cannot be used."""


class GeometryError(CadwrightError):
    """A shape has no usable geometry (no area, no volume, not finite)."""


class ProgramError(CadwrightError):
    """A program text is not in the dialect.

    Attributes:
        line: 1-based line of the offence, 0 if unknown.
        column: 1-based column of the offence, 0 if unknown.
    """

    def __init__(self, message: str, line: int = 0, column: int = 0) -> None:
        self.line, self.column = line, column
        super().__init__(f"line {line}, column {column}: {message}" if line else message)


class UnsupportedError(ProgramError):
    """Readable Python, but a name or call that the dialect does not have."""


class CheckpointError(CadwrightError):
    """A model folder is incomplete, or does not fit the class that loads it."""


class MissingDependencyError(CadwrightError):
    """An optional package is needed and not installed."""
