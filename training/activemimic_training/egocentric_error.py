"""The errors of this folder."""

from activemimic_description.common.errors import InvalidInputError, OperationError


class EgocentricError(OperationError):
    """A file that cannot be used: names the file and field, what was expected and what was found."""


class GeometryError(InvalidInputError):
    """Numbers for which the answer is not defined: says what was expected and found."""
