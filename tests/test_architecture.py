"""Who may import whom: a foundation, modules that know only the foundation, and stories that compose them."""

import ast
from pathlib import Path

import build

PACKAGE = Path(build.__file__).parent
FOUNDATION = {"canonical", "console", "determinism", "errors", "jail", "models", "proc", "settings", "store"}
# What several commands share; they compose modules as commands do.
COMPOSERS = {
    "accounted", "assemble", "attachedlock", "attaching", "attesting", "bases", "compared", "comparing", "desk",
    "documents", "drafts", "editing", "elsewhere", "expecting", "homes", "host", "interview", "kept", "knownimages",
    "lockcheck", "locking", "locksources", "making", "modelready", "named", "nativebuild", "nativelock", "nativeplan",
    "onto", "otherhost", "ourway", "preflight", "provenance", "proving", "publisheddebs", "publishing", "pushing",
    "pushrace", "rebasing", "rebuilding", "recipe", "refreshing", "releaselock", "sbom", "serverengine",
    "serverimage", "servers", "starting", "steps", "stillthere", "suite", "suitediagrams", "suiteneedle",
    "suiteprose", "suitetools", "trustedimage", "trusting", "usualway", "validating", "validationbook", "verifying",
    "workplace",
}  # fmt: skip

# Modules that need another module. A new edge here is a decision: the smaller room first, and never a circle.
EDGES = {
    "actions": {"lockform"},
    "answers": {"replies"},
    "asking": {"questions", "replies", "troubles"},
    "behaviours": {"torchenv"},
    "builders": {"ociimage"},
    "buildspecs": {"buildx"},
    "bytecode": {"patterns"},
    "carry": {"overlay", "relocate", "udiff"},
    "compilecache": {"ccachetar", "contexts"},
    "compilecommands": {"units"},
    "configdiff": {"imagediff", "ociimage", "results"},
    "consistency": {"wheeltags"},
    "cosign": {"published"},
    "costs": {"jobs", "units"},
    "debclaims": {"claims", "debrules", "imageview"},
    "deblock": {"lockform"},
    "debmirror": {"apt", "debs", "download"},
    "debrules": {"claims", "debwritten", "imageview"},
    "debs": {"apt"},
    "debwritten": {"debformats", "imageview", "layertar"},
    "diffjson": {"diffreport", "imagediff", "layertar", "ociimage", "packagediff", "summaryreport"},
    "diffreport": {"imagediff", "summaryreport"},
    "dockerlogin": {"credentials"},
    "download": {"exported", "receive"},
    "edittree": {"gitlocal", "overlay", "patchcommit"},
    "engine": {"dockerapi", "host", "private"},
    "export": {"download", "exported", "gitsource", "lockform"},
    "fetchrace": {"download"},
    "gitremote": {"gitlocal", "giturl"},
    "gitsource": {"exported", "gitremote", "giturl", "treehash", "treetar"},
    "huberrors": {"modelfolder"},
    "imagediff": {"layertar", "ociimage", "packagediff"},
    "imagesreport": {"knownimages", "nodes", "published", "readmetable", "samenode", "stillthere"},
    "imageview": {"claims", "layertar"},
    "index": {"resolver", "uvconfig", "wheeltags"},
    "intent": {"tables"},
    "layers": {"wheels"},
    "layertar": {"layerstream"},
    "leftout": {"patterns"},
    "licences": {"licencewords", "unpack"},
    "lockedlists": {"debclaims", "records", "unpack", "wheels"},
    "lockfile": {"lockform"},
    "lockreport": {"intent"},
    "madewheel": {"pywheel", "sourcetree"},
    "matrix": {"behaviours", "carry", "homes", "rebasing"},
    "mermaid": {"mermaidflow", "mermaidsequence", "mermaidtext"},
    "mermaidflow": {"mermaidtext"},
    "mermaidsequence": {"mermaidtext"},
    "metadata": {"receive"},
    "modelbytes": {"modelfolder", "sidebyside"},
    "modelfetch": {"modelbytes", "modelfolder", "modelhub", "sidebyside"},
    "modelhub": {"huberrors", "modelbytes", "modelfolder"},
    "modelweights": {"modelconfig", "tensorfiles"},
    "nodes": {"dockerapi", "sshengine"},
    "ociimage": {"ocisource"},
    "ourclaims": {"claims", "imageview", "layertar", "records"},
    "packagediff": {"layertar", "ociimage", "owners", "pullcost"},
    "patchclaims": {"claims", "imageview", "layertar", "records"},
    "patched": {
        "madewheel",
        "patchwork",
        "requirementfiles",
        "requirements",
        "series",
        "sourcetree",
        "treehash",
        "udiffparse",
        "wheels",
    },
    "patchfiles": {"processes", "series"},
    "patchlayout": {"overlay", "patchsteps", "processes", "series", "sourcetree", "treehash"},
    "patchsteps": {"overlay", "recut", "relocate", "series", "udiff", "udiffparse"},
    "patchwork": {"overlay"},
    "prediction": {"compilecommands", "costs", "jobs", "ninjalog", "units"},
    "private": {"dockerapi", "processes"},
    "published": {"lockform"},
    "pyclaims": {"claims", "imageview", "layertar", "owners", "patchclaims", "patterns", "records"},
    "pywheel": {"projecttable"},
    "readiness": {"serverends", "serverstate", "vllmlog"},
    "readmetable": {"published"},
    "rebased": {"overlay", "patchsteps", "rebasing"},
    "recut": {"gitlocal", "overlay", "udiffparse"},
    "referrers": {"registry", "upload"},
    "registry": {"credentials", "registryhttp", "registrylogin", "registryplaces"},
    "registryhttp": {"credentials", "receive", "registrylogin", "registryplaces"},
    "registrylogin": {"credentials"},
    "releases": {"lockform"},
    "relocate": {"udiff"},
    "remoteimage": {"ociimage", "registry"},
    "render": {"layers"},
    "requireslock": {"lockform"},
    "results": {"lockform"},
    "rootfs": {"unpack"},
    "roots": {"unpack"},
    "samenode": {"nodes"},
    "series": {"udiffparse"},
    "serverfacts": {"asking", "replies", "troubles"},
    "servermemory": {"profiles"},
    "serverstate": {"servercontainer", "serverends"},
    "smoke": {"nvidia"},
    "sourcetree": {"gitsource", "treetar"},
    "spdxjson": {"licencewords"},
    "speeds": {"replies"},
    "summaryreport": {"imagediff", "ociimage", "packagediff"},
    "testresult": {"report"},
    "toolcalls": {"replies"},
    "toolwheels": {"download", "index", "wheeltags"},
    "torchenv": {"toolwheels"},
    "troubles": {"replies"},
    "udiffparse": {"udiff"},
    "units": {"lockform"},
    "upload": {"registry", "registryhttp", "registryplaces"},
    "uvconfig": {"lockform"},
    "validation": {"replies", "speeds"},
    "validationpage": {"charts"},
    "worktree": {"edittree", "gitlocal", "overlay"},
}
# Programs of their own, for an interpreter that has torch and not our tools.
STANDALONE = {"gpubench", "stage"}
# Who starts programs without proc.run, and why.
OTHER_DOORS = {
    "buildx.py": "reads BuildKit's progress while it comes",
    "localregistry.py": "runs while others talk to it",
    "sshengine.py": "runs while others talk through it",
    "unpack.py": "pipes compressed bytes, and proc.run is for text",
}


def imports_of(path: Path) -> set[str]:
    """The modules of our package that a file imports, anywhere in it: `commands.build`, `proc`, …"""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module == "build":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").startswith("build."):
            found.add(str(node.module).removeprefix("build."))
        elif isinstance(node, ast.Import):
            found |= {alias.name.removeprefix("build.") for alias in node.names if alias.name.startswith("build.")}
        elif isinstance(node, ast.ImportFrom) and node.level:
            raise AssertionError(f"{path}: relative import; write `from build...`")
    return found


def modules() -> dict[str, set[str]]:
    return {path.stem: imports_of(path) for path in sorted(PACKAGE.glob("*.py")) if not path.stem.startswith("__")}


def test_the_foundation_imports_only_itself():
    strays = {
        name: found - FOUNDATION for name, found in modules().items() if name in FOUNDATION and found - FOUNDATION
    }
    assert strays == {}


def test_modules_import_only_the_foundation_and_their_declared_edges():
    strays = {}
    for name, found in modules().items():
        if name not in FOUNDATION | COMPOSERS:
            stray = found - FOUNDATION - EDGES.get(name, set())
            if stray:
                strays[name] = stray
    assert strays == {}, "move what they share down, compose them in build/commands/, or declare the edge above"


def test_declared_edges_are_used_and_have_no_circle():
    known = modules()
    unused = {name: edges - known.get(name, set()) for name, edges in EDGES.items() if edges - known.get(name, set())}
    assert unused == {}
    order: list[str] = []

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, f"a circle: {' -> '.join((*above, name))}"
        if name not in order:
            for other in sorted(known.get(name, ())):
                visit(other, (*above, name))
            order.append(name)

    for name in known:
        visit(name, ())


def test_what_another_interpreter_runs_stands_alone():
    known = modules()
    assert {name: known[name] for name in STANDALONE} == {name: set() for name in STANDALONE}
    assert {name for name, found in known.items() if found & STANDALONE} == set()


def test_nothing_but_main_knows_the_commands():
    strays = {name: found for name, found in modules().items() if any(item.startswith("commands") for item in found)}
    assert strays == {}
    for path in (PACKAGE / "commands").glob("*.py"):
        others = {name for name in imports_of(path) if name.startswith("commands")}
        assert others == set(), f"{path.name} imports another command: what they share belongs in a module"


def test_each_command_is_a_story_with_help():
    for path in (PACKAGE / "commands").glob("*.py"):
        if path.stem != "__init__":
            tree = ast.parse(path.read_text(encoding="utf-8"))
            names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
            assert {"add_arguments", "run"} <= names, path.name
            assert ast.get_docstring(tree), path.name


def test_subprocesses_go_through_one_door():
    strays = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [str(node.module)]
            if "subprocess" in names and path.name not in {"proc.py", *OTHER_DOORS}:
                strays.append(path.name)
    assert strays == [], "use build.proc"
