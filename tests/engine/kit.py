"""A store of one's own for the engine tests that shares what is only ever read: packages and unpacked roots."""

from pathlib import Path

from build.models import Settings
from build.settings import REPO, default_store


def own_settings(folder: Path) -> Settings:
    """Settings with a new store in ``folder``. Its blobs and roots are links to the real ones: never clean it."""
    store = folder / "store"
    store.mkdir(parents=True)
    for name in ("blobs", "roots"):
        shared = default_store() / name
        shared.mkdir(parents=True, exist_ok=True)
        (store / name).symlink_to(shared)
    return Settings(repo=REPO, store=store)
