"""What can be wrong with an installation's folder, engines, ports or addresses."""

from common.errors import AppError


class ConfigurationError(AppError):
    """Something the person who started the command can put right; the message is one line and says what."""

    code = "configuration"
