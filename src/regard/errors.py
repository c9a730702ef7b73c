"""The errors a user can mend: one clear sentence each, and the exit code that scripts may rely on."""


class UserError(Exception):
    """What is wrong, where, and what would be right. Printed without a traceback; exit code 1: failed at work."""

    exit_code = 1


class UsageError(UserError):
    """The command line or the recipe is wrong (exit code 2)."""

    exit_code = 2


class DataError(UserError):
    """A corpus or an input is wrong or cannot be read (exit code 3)."""

    exit_code = 3


class ModelError(UserError):
    """A model or checkpoint folder is damaged, foreign or untrusted (exit code 4)."""

    exit_code = 4


class LockedError(UserError):
    """Another process is training in this run folder (exit code 5)."""

    exit_code = 5


class QualityError(UserError):
    """The measured quality is below the gate that was asked for (exit code 6)."""

    exit_code = 6
