"""`nox -s lock` and GitHub Actions: tags of remotes that move, or cannot be reached."""

from dataclasses import replace

import pytest

from build import actions, drafts
from build.errors import MovedTagError, NetworkError, NewerLockError, OfflineError, ResolveError
from build.intent import read_intent
from build.locking import Wish
from tests import gitkit

NAME, OTHER = "actions/checkout", "actions/cache"
NOWHERE = "http://127.0.0.1:9/"

pytestmark = pytest.mark.programs("git")


class Hub:
    """The world's GitHub: a folder of repositories that git is sent to."""

    def __init__(self, world, folder, monkeypatch):
        self.world, self.folder, self.monkeypatch = world, folder, monkeypatch
        self.repositories = {name: gitkit.repository(folder / name).tag("v1.0.0") for name in (NAME, OTHER)}
        self.answers()
        monkeypatch.setattr(drafts, "of_debs", lambda *_, **__: [])
        world.intent.write_text(f'{world.intent.read_text()}\n[actions]\n"{NAME}" = "v1.0.0"\n')

    def answers(self, base=""):
        settings = {f"url.{base or self.folder.as_uri() + '/'}.insteadOf": f"{actions.HOST}/", "safe.directory": "*"}
        self.monkeypatch.setenv("GIT_CONFIG_COUNT", str(len(settings)))
        for number, (key, value) in enumerate(settings.items()):
            self.monkeypatch.setenv(f"GIT_CONFIG_KEY_{number}", key)
            self.monkeypatch.setenv(f"GIT_CONFIG_VALUE_{number}", value)

    def is_away(self):
        self.answers(NOWHERE)

    def want(self, name, tag="v1.0.0"):
        self.world.intent.write_text(f'{self.world.intent.read_text()}"{name}" = "{tag}"\n')

    def move(self, name):
        return self.repositories[name].commit({"new": b"x"}).tag("v1.0.0", force=True).head

    @property
    def locked(self):
        return {item.name: item.commit for item in actions.read(self.world.repo)[1]}

    @property
    def heads(self):
        return {name: made.head for name, made in self.repositories.items()}


@pytest.fixture
def hub(world, tmp_path, monkeypatch):
    return Hub(world, tmp_path / "hub", monkeypatch)


def test_each_is_locked_at_its_tags_commit(world, hub):
    hub.want(OTHER)
    assert f"{NAME} v1.0.0: {hub.heads[NAME]}" in world.lock().out
    assert hub.locked == hub.heads
    assert world.lock(upgrade=[]).out == "nothing changed\n"


def test_a_fresh_lock_is_kept_where_the_remote_cannot_be_reached(world, hub):
    hub.want(OTHER)
    world.lock()
    before = (world.repo / actions.FILE).read_bytes()
    hub.is_away()
    shown = world.lock(upgrade=[])
    assert shown.out == "nothing changed\n"
    assert f"[actions]: {OTHER}, {NAME} stay as they were locked" in shown.err
    assert "127.0.0.1:9" in shown.err
    assert (world.repo / actions.FILE).read_bytes() == before


def test_it_is_kept_where_there_is_no_git(world, hub, tmp_path, monkeypatch):
    world.lock()
    monkeypatch.setenv("PATH", gitkit.without_git(tmp_path / "none"))
    shown = world.lock(upgrade=[])
    assert shown.out == "nothing changed\n"
    assert "stay as they were locked" in shown.err


def test_without_one_to_keep_it_is_an_error(world, hub):
    hub.is_away()
    with pytest.raises(NetworkError, match="the tag v1.0.0 could not be fetched"):
        world.lock()
    assert not (world.repo / actions.FILE).exists()


def test_a_new_action_is_looked_up_and_the_others_stay(world, hub):
    world.lock()
    old = hub.heads[NAME]
    hub.move(NAME)
    hub.want(OTHER)
    world.lock()
    assert hub.locked == {NAME: old, OTHER: hub.heads[OTHER]}


def test_a_new_action_or_tag_cannot_stay_open(world, hub):
    world.lock()
    before = (world.repo / actions.FILE).read_bytes()
    hub.is_away()
    hub.want(OTHER)
    with pytest.raises(NetworkError):
        world.lock(upgrade=[])
    world.edit(f'"{OTHER}" = "v1.0.0"\n', "")
    world.edit(f'"{NAME}" = "v1.0.0"', f'"{NAME}" = "v2.0.0"')
    with pytest.raises(NetworkError, match=r"the tag v2\.0\.0"):
        world.lock()
    assert (world.repo / actions.FILE).read_bytes() == before


def test_a_tag_that_moved_is_refused_with_both_commits(world, hub):
    world.lock()
    old, before = hub.heads[NAME], (world.repo / actions.FILE).read_bytes()
    new = hub.move(NAME)
    assert world.lock().out == "nothing changed\n", "a locked tag is not asked for again"
    with pytest.raises(MovedTagError, match=f"the tag v1.0.0 of {NAME} has moved") as caught:
        world.lock(upgrade=[])
    assert old in caught.value.why
    assert new in caught.value.why
    assert (world.repo / actions.FILE).read_bytes() == before
    (world.repo / actions.FILE).unlink()  # what the message says to accept it
    world.lock()
    assert hub.locked == {NAME: new}


def test_another_tag_is_not_a_moved_one(world, hub):
    world.lock()
    hub.repositories[NAME].commit({"new": b"x"}).tag("v2.0.0")
    world.edit(f'"{NAME}" = "v1.0.0"', f'"{NAME}" = "v2.0.0"')
    world.lock(upgrade=[])
    assert hub.locked == {NAME: hub.heads[NAME]}


def test_a_tag_that_is_gone_is_an_error_though_it_was_locked(world, hub):
    world.lock()
    hub.repositories[NAME].git("tag", "--delete", "v1.0.0")
    with pytest.raises(ResolveError, match=r"no remote has the tag v1\.0\.0"):
        world.lock(upgrade=[])


def drawn_offline(world, **asked):
    return drafts.of_actions(replace(world.settings, offline=True), read_intent(world.repo), Wish(**asked))


def test_offline_nobody_is_asked(world, hub):
    world.lock()
    hub.move(NAME)
    assert [found.differs for found in drawn_offline(world, upgrade=())] == [False]
    hub.want(OTHER)
    with pytest.raises(OfflineError, match=f"{actions.HOST}/{OTHER} is to be looked up"):
        drawn_offline(world)


def test_a_lock_of_a_newer_version_is_not_written_over(world, hub):
    world.lock()
    path = world.repo / actions.FILE
    path.write_text(path.read_text().replace("schema = 1", "schema = 99"))
    with pytest.raises(NewerLockError):
        world.lock(upgrade=[])
