"""All parts, in the order in which they are asked: what takes long comes last."""

from __future__ import annotations

from typing import Final

from collectors.postgres.activity import ACTIVITY
from collectors.postgres.replication import REPLICATION
from collectors.postgres.server import SERVER
from collectors.postgres.statements import Part
from collectors.postgres.tables import TABLES

SETTINGS: Final = Part("settings", ())  # its families are the server's own: see `settings.py`
PARTS: Final[tuple[Part, ...]] = (SETTINGS, *ACTIVITY, *REPLICATION, *SERVER, *TABLES)
