"""What the user can mend."""


class UserError(Exception):
    """A mistake the user can correct: one line that says what is wrong, where, and what to do.

    The command line prints it without a traceback and ends with exit status 2.
    """
