"""What every error of ours is."""


class ModelyardError(Exception):
    """The base of every error of ours; its text says what is wrong and what to do."""

    exit_code = 1


class BadInput(ModelyardError):
    """What was asked for cannot be done as asked; nothing was written."""

    exit_code = 2
