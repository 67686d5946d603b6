"""Self-contained HTML pages, from the templates beside the stages."""

from pathlib import Path
from typing import Any

import jinja2

TEMPLATES = Path(__file__).parent.parent


def render(template: str, **values: Any) -> str:
    """The page; a value that the template names and `values` lacks is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(values)
