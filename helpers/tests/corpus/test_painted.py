"""Names that no training may show."""

import json

from helpers import paths
from helpers.corpus import painted


def test_hidden_names_may_come_from_a_list(tmp_path, monkeypatch):
    (tmp_path / "hidden_names.json").write_text(json.dumps(["Green Heart"]))
    monkeypatch.setattr(paths, "CORPUS", tmp_path)
    assert painted.hidden_names() == {"green heart"}
