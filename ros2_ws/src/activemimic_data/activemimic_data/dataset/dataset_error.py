"""The one error of this folder."""


class DatasetError(RuntimeError):
    """A dataset that cannot be built or read: names the file and field, what was expected and what was found."""
