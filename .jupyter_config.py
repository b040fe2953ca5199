"""JupyterLab for this course: ``jupyter lab --config=.jupyter_config.py``.

A stored notebook cannot keep a live panel: opened again, JupyterLab would show "Error
displaying widget: model not found" in its place. So a page is saved without the views
of widgets; their words stay ("run this cell to use it"). What JupyterLab adds about the
kernel is left out too: a saved page differs from ours by what you changed.
"""

VIEW = "application/vnd.jupyter.widget-view+json"
KEPT = {
    "kernelspec": ("display_name", "language", "name"),
    "language_info": ("name",),
}


def tidy(model, **_):
    """Before a notebook is saved: views and the kernel's version go, the rest stays."""
    if model["type"] != "notebook" or model["content"]["nbformat"] < 4:
        return
    content = model["content"]
    content["metadata"].pop("widgets", None)
    for name, keys in KEPT.items():
        if (rows := content["metadata"].get(name)) and "name" in rows:
            kept = {key: rows[key] for key in keys if key in rows}
            if kept["name"] == "python3":  # JupyterLab writes "Python 3 (ipykernel)"
                kept["display_name"] = "Python 3"
            content["metadata"][name] = kept
    for cell in content["cells"]:
        for output in cell.get("outputs", []):
            if "text/plain" in output.get("data", {}):
                output["data"].pop(VIEW, None)


c = get_config()  # noqa: F821
c.ContentsManager.pre_save_hook = tidy
