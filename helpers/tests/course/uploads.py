"""What a browser does when a file was chosen, for tests of panels."""

import io
from datetime import datetime

from PIL import Image


def png(colour: str, size=(9, 6)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "PNG")
    return out.getvalue()


def give(panel, name: str, raw: bytes) -> None:
    """What the browser does when a file was chosen."""
    field = panel.upload
    if isinstance(field.value, dict):  # ipywidgets 7
        field.metadata, field.data = [{"name": name}], [raw]
        field._counter += 1
    else:
        row = {"name": name, "type": "image/png", "size": len(raw), "content": raw}
        field.value = ({**row, "last_modified": datetime(2026, 1, 1)},)
