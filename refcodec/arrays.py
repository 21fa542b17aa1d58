"""The type of what fields and renderers compute with."""
from __future__ import annotations

from typing import Any

# A numpy array or a torch tensor: whichever the field computes with. Both libraries spell
# their methods alike, but share no type.
Array = Any
