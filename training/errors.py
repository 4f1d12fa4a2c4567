"""What the command line answers with exit code 2 and one line."""


class DataError(ValueError):
    """Data, or a request, that cannot be trained on."""
