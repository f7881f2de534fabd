"""The templates of the pages, which are next to this file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any


def rendered(template: str, **values: Any) -> str:
    """Fill in a template; everything is escaped except what `markup` marks."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # needed only here, so imported late

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["number"] = format
    return environment.get_template(template).render(**values)


def as_markup(draw: Callable[..., str]) -> Callable[..., Any]:
    """Mark what `draw` returns as HTML, which is not escaped: SVG pictures."""
    from markupsafe import Markup

    return lambda *values, **options: Markup(draw(*values, **options))
