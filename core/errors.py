"""What the user can mend."""


class UserError(Exception):
    """A mistake the user can correct: one line that says what is wrong, where, and what to do.

    The command line prints it without a traceback and ends with exit status 2.
    """


class Damaged(UserError):
    """A file of ours does not hold what was written, or what it should be; the line names file, reason and fix.

    Who can make the file's content again catches this and does so.
    """
