"""The one error that users cause: bad input, told in one line with its mend."""


class UserError(ValueError):
    """Input that cannot be used; the message names the file, the item and the mend."""
