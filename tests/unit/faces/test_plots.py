"""The templates by which `dvc plots` draws the evaluation, filled by DVC's own renderer."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.config import Config
from dvc_render import VegaRenderer, render_html

ROOT = Path(__file__).resolve().parents[3]
TEMPLATES = ROOT / ".dvc" / "plots"
PLOTS: dict[str, dict[str, Any]] = {
    path: options
    for stage in yaml.safe_load((ROOT / "pipelines/faces/dvc.yaml").read_text())["stages"].values()
    for plot in stage.get("plots", [])
    if isinstance(plot, dict)
    for path, options in plot.items()
    if (TEMPLATES / f"{options.get('template')}.json").exists()
}


def test_every_template_is_used_and_the_evaluation_has_its_plots() -> None:
    assert {options["template"] for options in PLOTS.values()} == {path.stem for path in TEMPLATES.glob("*.json")}
    assert {"roc", "tar_at_far", "scores", "calibration", "quality"} <= {Path(path).stem for path in PLOTS}


@pytest.mark.parametrize("path", PLOTS)
def test_a_template_is_filled_with_two_revisions(path: str) -> None:
    options = PLOTS[path]
    row = {options["x"]: "0.1", options["y"]: "0.5", "series": "model"}
    points = [{**row, "rev": rev, "filename": path} for rev in ("one", "two")]
    filled = VegaRenderer(points, path, **options, template_dir=str(TEMPLATES)).get_filled_template()
    text = json.dumps(filled)
    assert "<DVC_METRIC" not in text
    assert filled["title"]["text"] == options["title"]
    assert filled["data"]["values"] == points, "the template may use every column"
    for wanted in ("x", "y", "x_label"):
        assert f'"{options[wanted]}"' in text


def test_dvcs_page_says_its_encoding(tmp_path: Path) -> None:
    """DVC's own says none, and browsers read its minus signs as something else."""
    template = ROOT / ".dvc" / Config(str(ROOT / ".dvc"))["plots"]["html_template"]
    page = Path(render_html([], tmp_path / "index.html", template)).read_text()
    assert '<meta charset="utf-8">' in page and "{plot_divs}" not in page and "{scripts}" not in page
