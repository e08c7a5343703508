"""The one error of this folder."""

from activemimic_description.common.errors import OperationError


class DatasetError(OperationError):
    """A dataset that cannot be built or read: names the file and field, what was expected and what was found."""
