"""Run an image's own checks inside it, offline, as its user, and report: a table here, JSON and JUnit XML in a folder.

Any image will do: one of ours by --target (the one built last here) or --image, local or in a registry; one that is
not ours gets the checks that fit any image. What needs a GPU is skipped, with the reason, where there is none.

--attest signs the report and attaches it to the published digest (--image REPOSITORY@sha256:…), where `verify` and
`images` show it: with --require-gpu that is how the owner of a Spark tells others that it works there.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from build import assemble, attesting, emulation, engine, host, reference, report, smoke, steps
from build.console import say, step, table, warn
from build.errors import BuildError, ImageNotFoundError, SmokeError, UsageError
from build.intent import read_intent
from build.models import Settings
from build.report import Check, Report
from build.settings import add_target_argument

CHECKS = Path("dockerfiles/image/checks")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_target_argument(parser)
    parser.add_argument("--image", metavar="REF", help="any image: a name, a digest, in the engine or a registry")
    parser.add_argument("--output", type=Path, metavar="DIR", help="where the reports go (default: out/smoke)")
    parser.add_argument(
        "--our-checks", action="store_true", help="run this clone's checks instead of those that the image carries"
    )
    parser.add_argument("--require-gpu", action="store_true", help="a check that lacks a GPU fails")
    parser.add_argument("--attest", action="store_true", help="sign the report and attach it to the published image")
    parser.add_argument("--key", metavar="KEY", help="the private key to sign it: a file, env://NAME, a key service")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Check one image. Raises :class:`SmokeError` naming what failed, after the reports are written."""
    key = signing_key(args, settings)
    name = args.image or built_image(settings, args.target)
    chosen = engine.find(settings)
    client = engine.client(chosen)
    with step(f"look at {name}"):
        image = reference.find(client, name, offline=settings.offline)
    how = smoke.execution(client)
    if how == "emulated":
        emulation.ensure(settings.store, host.tools(settings))
        say("the engine's machine is not arm64: the checks run under emulation, some ten times slower")
    if image.foreign:
        warn(f"{name} has no label of this project: it is foreign, and gets the checks that fit any image")
    folder = (args.output or settings.repo / "out" / "smoke").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    stem = _stem(image)
    local = image.digest  # as this engine calls it
    there = attesting.where(name, image) if key is not None else None
    if there is not None:
        image = replace(image, digest=there.digest)
    heard = Listener(started=time.monotonic())
    started = datetime.now(UTC).isoformat(timespec="seconds")
    checks = [_platform(image)]
    if checks[0].status == report.PASSED:
        ours = settings.repo / CHECKS if image.foreign or args.our_checks else None
        luggage = smoke.Luggage(uv=arm64_uv(settings, image), checks=ours)
        subject = smoke.Subject(name=name, reference=local, user=image.user, foreign=image.foreign)
        smoke.run(client, subject, luggage, gpu=args.require_gpu, log=folder / f"{stem}.log", heard=heard)
        checks += [*heard.ended, *heard.lost()]
    made = Report(
        image=name, digest=image.digest, platform=image.platform, target=image.target, chain_id=image.chain_id,
        series_id=image.series_id, foreign=image.foreign, checks_set=heard.chosen, execution=how,
        engine=f"Docker Engine {chosen.version}", gpu_required=args.require_gpu, started=started,
        seconds=round(time.monotonic() - heard.started, 2),
        checks=report.require_gpu(checks) if args.require_gpu else tuple(checks),
    )  # fmt: skip
    status = tell(settings, made, folder, stem)
    if key is not None and there is not None:
        data = (folder / f"{stem}.json").read_bytes()
        done = attesting.attest(settings, key, there, data, folder / f"{stem}.sigstore.json")
        say(f"attached to {done.image}: {done.document}")
        if done.record is not None:
            say(f"noted in {done.record.relative_to(settings.repo)}: commit it, or send it as a pull request")
    return status


def signing_key(args: argparse.Namespace, settings: Settings) -> str | None:
    """The key that the report is signed with, "" for a job's own identity; None where it is not to be attached."""
    if not args.attest:
        if args.key:
            raise UsageError("--key signs what --attest attaches", todo="add --attest, or leave it out")
        return None
    if settings.offline or not args.image:
        raise UsageError(
            "--attest needs a published image",
            why="--offline was asked for" if settings.offline else "no --image was named",
            todo="name one: --image REPOSITORY@sha256:…",
        )
    return attesting.key_for(args.key)


def tell(settings: Settings, made: Report, folder: Path, stem: str) -> int:
    """Write the reports, print the table, and fail for what failed."""
    written = folder / f"{stem}.json"
    written.write_text(report.to_json(made), encoding="utf-8")
    (folder / f"{stem}.xml").write_text(report.to_junit(made), encoding="utf-8")
    if settings.json:
        print(report.to_json(made), end="")
    else:
        table(f"{made.image}  {made.digest}", ("check", "status", "seconds", "remark"), report.rows(made))
        print(f"{report.counts(made)}; {made.execution}, {made.seconds:.0f} s; report: {written}")
    if made.failed:
        raise SmokeError(
            f"{len(made.failed)} of {len(made.checks)} checks of {made.image} failed",
            why="\n       ".join(f"{check.name}: {check.reason}" for check in made.failed),
            todo=f"the evidence is in {written}",
        )
    return 0


@dataclass
class Listener:
    """Shows each check as it ends and keeps it."""

    started: float
    chosen: str = ""
    planned: list[str] = field(default_factory=list)
    ended: list[Check] = field(default_factory=list)

    def lost(self) -> list[Check]:
        """A failure for each check that was announced and never ended: silence is not success."""
        seen = {check.name for check in self.ended}
        reason = "it was announced and never ended"
        return [Check(name=n, status=report.FAILED, seconds=0.0, reason=reason) for n in self.planned if n not in seen]

    def __call__(self, event: smoke.Event) -> None:
        if event["event"] == "plan":
            self.chosen = str(event["set"])
            self.planned = [str(name) for name in event["checks"]]
            say(f"  {len(event['checks'])} checks of the set '{self.chosen}'")
        if event["event"] == "end":
            check = report.end(event)
            self.ended.append(check)
            mark = {"passed": "✓", "failed": "✗", "skipped": "-"}.get(check.status, "?")
            remark = f": {report.remark(check)}" if report.remark(check) else ""
            say(f"  {mark} {check.name} ({check.seconds:.1f} s){remark}")


def _platform(image: reference.Image) -> Check:
    """The engine's own view of the image, checked before anything of it runs."""
    right = image.platform == reference.PLATFORM
    return Check(
        name="platform-of-image",
        status=report.PASSED if right else report.FAILED,
        reason="" if right else f"it is for {image.platform}, not {reference.PLATFORM}",
        evidence={"platform": image.platform},
    )


def _stem(image: reference.Image) -> str:
    return f"{image.target or 'foreign'}-{image.digest.removeprefix('sha256:')[:12]}"


def built_image(settings: Settings, target: str | None) -> str:
    """The name of the image that was built last here for a target."""
    name, _ = read_intent(settings.repo).target(target)
    if (known := assemble.read_built(settings.store, name)) is None:
        raise ImageNotFoundError(
            f"no image of the target {name} was built here",
            todo=f"run `nox -s build -- --target {name}`, or name an image with --image REF",
        )
    return known.image


def arm64_uv(settings: Settings, image: reference.Image) -> Path | None:
    """The locked uv for arm64, unpacked in the store, for the metadata check; None where no check needs it.

    Where it cannot be had that check is skipped, with the reason, and a warning says why.
    """
    if image.foreign:
        return None
    try:
        job = steps.load(settings, image.target if image.target in read_intent(settings.repo).targets else None)
        wheel = next(item for item in job.lock.tools if "aarch64" in item.file)
        steps.fetch_python(settings, [wheel], [job.environment])
    except (BuildError, StopIteration) as error:
        warn(f"no uv for arm64 can be had, so the metadata check is skipped: {error}")
        return None
    return steps.uv_program(settings, wheel)
