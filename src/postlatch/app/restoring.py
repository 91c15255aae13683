"""``restore``: a backup into an empty data directory of a stopped relay. The queue comes back held: nothing goes out unseen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from postlatch.app.answer import UNUSABLE, Answer, good
from postlatch.app.offline import become_user
from postlatch.app.privileges import UserError
from postlatch.settings.tree import Settings
from postlatch.store.database import StoreError
from postlatch.store.lock import acquire
from postlatch.store.restore import restore as put_back


def restore(settings: Settings, arguments: dict[str, Any]) -> Answer:
    """The answer of ``postlatch restore FILE``."""
    if settings.database.parent != settings.data_dir:
        return Answer(UNUSABLE, {}, "store.url names a database outside data_dir: restore by hand, or move it inside")
    try:
        become_user(settings)
        with acquire(settings.data_dir):
            report = put_back(Path(arguments["file"]), settings.data_dir, database=settings.database.name)
    except (StoreError, UserError, OSError) as error:
        return Answer(UNUSABLE, {}, str(error))
    return good("restore", directory=str(settings.data_dir), **report._asdict())
