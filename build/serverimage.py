"""Which image a profile is served with: the newest that was published for its targets, verified, else one built here.

Composes. An image is named by its digest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from build import assemble, intent, published, reference, serverengine, trustedimage
from build.console import human_bytes, say, step
from build.errors import ImageNotFoundError, ProfileError, ServeError
from build.models import Settings
from build.profiles import Profile
from build.published import Place, Record
from build.serverengine import Place as Engine

if TYPE_CHECKING:
    import docker

NAMED, BUILT = "named by --image", "built here; nothing is published for this profile yet"
PROGRAM = "/opt/spark/serve"
UNPACKED = 3  # an image's files and their compressed layers, as a multiple of the latter (v0.32: 4 GB, and 8 GB more)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """An image to serve with. ``name``: what an engine is asked for; ``said``: why this one.

    ``size``: compressed bytes that may have to come in; ``source``: the URL of an engine that has it, where one does.
    """

    name: str
    target: str
    said: str
    size: int = 0
    source: str = ""


def choose(
    settings: Settings, profile: Profile, *, target: str | None, image: str | None, engines: Sequence[Engine]
) -> Choice:
    """The image for a profile. ``target``, ``image``: what was asked for.

    Raises :class:`ProfileError` for a target that the profile is not for, :class:`ImageNotFoundError` where there is
    none, and what :func:`build.trustedimage.verified` raises.
    """
    if image:
        source = holder(engines, image)
        known = next((facts(engine, image) for engine in engines if engine.url == source), None)
        return Choice(name=image, target=known.target if known else "", said=NAMED, source=source)
    targets = wanted(settings, profile, target)
    if found := newest(settings, targets):
        record, place = found
        name = f"{place.repository}@{record.manifest}"
        how = trustedimage.verified(settings, record, place)
        return Choice(
            name=name, target=record.target, size=record.size, source=holder(engines, name),
            said=f"published {place.time[:10]}, {how}",
        )  # fmt: skip
    for name in targets:
        built = assemble.read_built(settings.store, name)
        if built and (source := holder(engines, built.digest)):
            return Choice(name=built.digest, target=name, said=BUILT, source=source)
    raise _nowhere(settings, profile, targets, {engine.url for engine in engines})


def _nowhere(settings: Settings, profile: Profile, targets: Sequence[str], urls: set[str]) -> ImageNotFoundError:
    """The error where there is no image; of one that an engine has which does not answer, that it is so."""
    built = [item for name in targets if (item := assemble.read_built(settings.store, name))]
    silent = [
        f"{item.target} was built, in an engine that does not answer ({item.engine})"
        for item in built
        if item.engine not in urls
    ]
    return ImageNotFoundError(
        f"there is no image for the profile {profile.name}",
        why="; ".join([f"nothing is published of {', '.join(targets)}", *(silent or ["none was built here"])]),
        todo="start that engine: `nox -s engine -- up` is the private one"
        if silent
        else f"build it: `nox -s build -- --target {targets[0]}`; or name one: --image REF",
    )


def wanted(settings: Settings, profile: Profile, target: str | None) -> tuple[str, ...]:
    """The targets to look at, the best first: the one that was named, else the profile's, the default before others."""
    if target is None:
        default, _ = intent.read_intent(settings.repo).target(None)
        return tuple(sorted(profile.targets, key=lambda name: name != default))
    if target not in profile.targets:
        raise not_for(profile, target)
    return (target,)


def not_for(profile: Profile, target: str) -> ProfileError:
    """The error for an image of another target."""
    return ProfileError(
        f"the profile {profile.name} is not for {f'the target {target}' if target else 'an image of others'}",
        why=f"it is for {', '.join(profile.targets)}",
        todo="take an image of one of these, or write a profile of your own (docs/serving.md)",
    )


def newest(settings: Settings, targets: Sequence[str]) -> tuple[Record, Place] | None:
    """The record that was published last of the first target that has one fit for others, and where it is."""
    known = published.read_all(settings.repo)
    for target in targets:
        for record in known:
            if record.target == target and record.places and not record.remarks:
                return record, record.places[-1]
    return None


def holder(engines: Sequence[Engine], name: str) -> str:
    """The URL of the first engine that has an image of that name or digest; empty where none has."""
    return next((engine.url for engine in engines if holds(engine, name)), "")


def holds(engine: Engine, name: str) -> bool:
    """Whether an engine has it."""
    return facts(engine, name) is not None


def facts(engine: Engine, name: str) -> reference.Image | None:
    """An image as an engine has it; None where it has none of that name or digest."""
    with serverengine.opened(engine.url) as client:
        try:
            return reference.find(client, name, offline=True)
        except ImageNotFoundError:
            return None


def bring(settings: Settings, choice: Choice, engine: Engine, client: docker.DockerClient) -> reference.Image:
    """The image in that engine: it is there, or another engine of this machine has it, or it is pulled."""
    if choice.source and choice.source != engine.url:
        return _copied(choice, engine, client)
    if not choice.source:
        say(f"pull {choice.name}" + (f" ({human_bytes(choice.size)})" if choice.size else ""))
    return reference.find(client, choice.name, offline=settings.offline)


def _copied(choice: Choice, engine: Engine, client: docker.DockerClient) -> reference.Image:
    """Stream an image from one engine into another; ids may differ there, files and labels do not."""
    with serverengine.opened(choice.source) as source:
        there: Any = source.api
        known = there.inspect_image(choice.name)
        name = next(iter(known.get("RepoTags") or ()), "")
        if not name:
            raise ServeError(
                f"{choice.name} has no name in the engine at {choice.source}, and cannot be copied",
                todo="build it again",
            )
        with step(f"copy {name} from the engine at {choice.source} to that at {engine.url}"):
            to: Any = client.api
            said = list(to.load_image(_pieces(there, name)))
    found = reference.find(client, name, offline=True)
    made = to.inspect_image(name)
    if made["RootFS"]["Layers"] != known["RootFS"]["Layers"]:
        told = "; ".join(str(line.get("error") or line.get("stream", "")).strip() for line in said)
        raise ServeError(
            f"{name} is another image in the engine at {engine.url}", why=told, todo="remove it there first"
        )
    return found


def _pieces(api: Any, name: str) -> Iterator[bytes]:
    yield from api.get_image(name)


def disk_needed(choice: Choice, engine: str) -> int:
    """Bytes of disk that the image itself still takes in the engine at a URL."""
    return 0 if choice.source == engine else UNPACKED * choice.size


def demand_fitting(client: docker.DockerClient, image: reference.Image, profile: Profile) -> None:
    """That the image is for the profile, and has a program that serves. Raises ProfileError, :class:`ServeError`."""
    if image.target not in profile.targets:
        raise not_for(profile, image.target)
    api: Any = client.api
    entry = api.inspect_image(image.digest)["Config"].get("Entrypoint") or []
    if PROGRAM not in entry:
        raise ServeError(
            f"{image.name} has no program that serves",
            why=f"its entry point is {' '.join(entry) or 'none'}, not {PROGRAM}",
            todo="it was built before there was one: build it again, or name another",
        )
