"""What the command line answers with exit code 2 and one line."""


class DataError(ValueError):
    """Data, or a request, that cannot be trained on."""


class ExportError(ValueError):
    """The exported network does not compute what the trained one does."""
