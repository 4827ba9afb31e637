"""The application for `adev runserver`, which restarts it when a file changes (`make dev`).

adev binds the HTTP port itself; everything else comes from the environment and zvonim.toml, as always.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zvonim_sfu.app import create_app
from zvonim_sfu.config import load
from zvonim_sfu.logs import configure_logs

if TYPE_CHECKING:
    from aiohttp import web


def app_factory() -> web.Application:
    """Return the application with the settings of this environment."""
    settings = load({}).settings
    configure_logs(settings.log_level, settings.log_format)
    return create_app(settings)
