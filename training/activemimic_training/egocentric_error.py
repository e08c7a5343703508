"""The errors of this folder."""


class EgocentricError(RuntimeError):
    """A file that cannot be used: names the file and field, what was expected and what was found."""


class GeometryError(ValueError):
    """Numbers for which the answer is not defined: says what was expected and found."""
