"""Apply the target's series to its source trees, exactly: no fuzz, no offset, full context, all or nothing.
The patched files are kept in the store at their installed paths, and their hashes must be those of the lock.
--check asks the sources, without and with the series, for the behaviour that each patch is for.

To change a patch: --edit N lays out a git tree of its component, with the series up to that patch; change files there,
then --refresh writes the patch anew, and those after it where their lines moved. Author, date, subject and all else
above the change stay as they are. New files count too; one that the tree's .gitignore names, after `git add -f`.
Without a tree to edit, --refresh writes each patch in the form that git gives it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from pathlib import Path

from build import desk as desks
from build import editing, patched, patchlayout, proving, refreshing, sourcetree, steps
from build.behaviours import shortly
from build.console import step, table
from build.errors import BehaviourError, NetworkError, OfflineError, UsageError
from build.models import Settings
from build.settings import add_target_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_target_argument(parser)
    parser.add_argument(
        "--from", dest="source", choices=("archive", "git"), default="archive",
        help="patch the tree of the source archive (default) or of the pinned commit",
    )  # fmt: skip
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--check", action="store_true", help="apply it, and prove that each patch is needed and does what it is for"
    )
    instead.add_argument(
        "--edit", type=int, metavar="N", help="lay out a git tree to change the N-th patch of the series in"
    )
    instead.add_argument(
        "--refresh", action="store_true", help="write the series anew, with what was changed in that tree"
    )
    instead.add_argument(
        "--output", type=Path, metavar="DIR", help="lay out each component's whole patched tree, as DIR/COMPONENT"
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Apply one target's series, or change it."""
    if args.source == "git" and (args.refresh or args.edit is not None):
        raise UsageError("patches are written for the locked source archives", todo="leave out --from git")
    if args.edit is not None:
        return edit(settings, args.target, args.edit)
    if args.refresh:
        return refresh(settings, args.target)
    git = args.source == "git"
    job = steps.load(settings, args.target, changed=True)
    sourcetree.require_resolved(job.lock, git=git)
    if job.series.refs != job.lock.patches:
        rehearse(job, git=git)
        steps.require_locked(job)
    if args.check:
        return check(job, git=git)
    if args.output:
        return lay_out(job, args.output.absolute(), git=git)
    return apply(job, git=git)


def rehearse(job: steps.Job, *, git: bool) -> None:
    """A series that changed since it was locked, applied to the locked trees: its own faults are told first."""
    with contextlib.suppress(OfflineError, NetworkError):  # then only the lock can be talked of
        steps.fetch_python(job.settings, patched.archives(job.lock, git=git), [job.environment])
        patchlayout.patched_trees(job.settings, job.lock, job.series, git=git)


def apply(job: steps.Job, *, git: bool) -> int:
    """The series applied, as the lock has it."""
    settings = job.settings
    steps.fetch_python(settings, patched.inputs(job.lock, git=git), [job.environment])
    files = patched.locked_files(settings, job.lock, job.series, git=git)
    if settings.json:
        report = {
            "target": job.name,
            "series": job.series.name,
            "series_id": job.series.id,
            "patches": [{"patch": patch.name, "sha256": patch.ref.sha256} for patch in job.series.patches],
            "files": [
                {"component": item.name, "source": file.source, "installed": file.installed,
                 "before": file.before, "after": file.after, "path": str(files.get(file.installed, ""))}
                for item in job.lock.components for file in item.files
            ],
        }  # fmt: skip
        print(json.dumps(report, indent=2))
    else:
        for patch in job.series.patches:
            print(f"{patch.name}: {patch.fields['description']}")
        for installed, path in sorted(files.items()):
            print(f"  {installed}  →  {path}")
    return 0


def check(job: steps.Job, *, git: bool) -> int:
    """The series applied, and what it does compared with what the sources do without it."""
    settings = job.settings
    steps.fetch_python(settings, patched.inputs(job.lock, git=git), [job.environment])
    patched.locked(settings, job.lock, job.series, git=git)
    proofs = proving.prove(settings, job.series, patched.works(settings, job.lock, job.series, git=git))
    if settings.json:
        told = {"target": job.name, "series": job.series.name, "series_id": job.series.id,
                "behaviours": [proof.as_dict() for proof in proofs]}  # fmt: skip
        print(json.dumps(told, indent=2))
    else:
        rows = [
            (each.behaviour, "\n".join(each.patches), shortly(each.without), shortly(each.with_series), each.verdict)
            for each in proofs
        ]
        heads = ("behaviour", "patches", "cases that hold without", "with", "")
        table(f"{job.name}: what the series {job.series.name} is for", heads, rows)
    if faults := [fault for proof in proofs for fault in proof.faults]:
        raise BehaviourError(
            f"the series {job.series.name} applies, and does not do what it is for",
            why="\n       ".join(faults),
            todo="`--json` shows every case; `--edit N` lays out a tree to change a patch in",
        )
    return 0


def edit(settings: Settings, target: str | None, number: int) -> int:
    """A tree to change one patch in."""
    with desks.writing(settings):
        desk = desks.prepare(settings, target)
        patch = editing.pick(desk, number)
        with step(f"lay out {patch.ref.component} with the series up to {patch.name}"):
            made = editing.edit(desk, patch)
    if settings.json:
        told = {"target": desk.target, "series": desk.series.name, "number": number, "patch": made.patch,
                "folder": str(made.folder), "base": made.base, "commit": made.commit,
                "merged": list(made.merged), "waiting": list(made.pending)}  # fmt: skip
        print(json.dumps(told, indent=2))
        return 0
    print(f"{made.patch}: {patch.fields['description']}")
    print(f"  {made.folder}")
    for name in made.pending:
        print(f"  on top of {name} as you edited it, which waits in this tree")
    for path in made.merged:
        print(f"  merged by git, look at it: {path}")
    print(f"change files there (commit or not), then: {desk.command('--refresh')}")
    return 0


def refresh(settings: Settings, target: str | None) -> int:
    """The series' patches written anew."""
    with desks.writing(settings):
        desk = desks.prepare(settings, target)
        done = refreshing.refresh(desk)
    if settings.json:
        told = {"target": desk.target, "series": desk.series.name, "edited": done.edited,
                "written": [str(path) for path in done.written], "borrowers": list(done.borrowers)}  # fmt: skip
        print(json.dumps(told, indent=2))
        return 0
    for path in done.written:
        print(f"written anew: {path}")
    if not done.written:
        print("nothing changed: the series is as a refresh writes it")
        return 0
    for name in done.borrowers:
        print(f"the series '{name}' lists one of them too: look at it as well")
    lock = "nox -s lock" if done.borrowers else f"nox -s lock -- --target {desk.target}"
    print(f"next: {lock}, then {desk.command('--check')}")
    return 0


def lay_out(job: steps.Job, folder: Path, *, git: bool) -> int:
    """Each component's patched tree, whole."""
    patchlayout.require_empty(folder)
    steps.fetch_python(job.settings, patched.archives(job.lock, git=git), [job.environment])
    with step(f"lay out {', '.join(job.series.components)}, patched"):
        made = patchlayout.write(job.settings, job.lock, job.series, folder, git=git)
    if job.settings.json:
        trees = [{"component": name, "folder": str(folder / name), "tree": tree} for name, tree in made.items()]
        print(json.dumps({"target": job.name, "series_id": job.series.id, "trees": trees}, indent=2))
    else:
        for name, tree in made.items():
            print(f"{name}: {folder / name}  (git's tree {tree[:12]})")
    return 0
