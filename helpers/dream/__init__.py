"""Words to pictures: VQGAN+CLIP and Pixray's drawers (notebooks 05 and 06)."""

from .files import again, go_on, save
from .frame import Frame
from .loop import Dream, generate
from .settings import Settings

__all__ = ["Dream", "Frame", "Settings", "again", "generate", "go_on", "save"]
