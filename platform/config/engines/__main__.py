"""`python -m config.engines`: the keeper, started by the first command that needs engines."""

from config.engines.keeper import keep
from config.env import ENV

keep(ENV)
