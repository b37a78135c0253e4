"""The paper's tables and figures, under the name of the command that makes them.

They are written in `skclipad.paper`.
"""

from skclipad.paper import *  # noqa: F403
from skclipad.paper import __all__ as __all__
