"""Run the image's router checks on a few files of vLLM: ``python stage.py FOLDER CHECKS``, results as JSON.

FOLDER holds the modules under test, at their installed paths. They are real; every other module of vLLM is stood
in for, so that torch and NumPy are all that is needed.
"""

import importlib
import importlib.abc
import importlib.machinery
import json
import sys
import types
from pathlib import Path
from unittest import mock

SET = {
    "vllm.platforms": {
        "current_platform": mock.Mock(**{f"is_{n}.return_value": False for n in ("cuda", "xpu", "rocm", "cpu")})
    },
    "vllm.envs": {"VLLM_MOE_SKIP_PADDING": True, "VLLM_BATCH_INVARIANT": False},
    "vllm._aiter_ops": {"rocm_aiter_ops": mock.Mock(**{"is_fused_moe_enabled.return_value": False})},
}


class Stub(types.ModuleType):
    """A module that has whatever is asked of it: a class for Names, a mock for names."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        value = type(name, (), {}) if name[0].isupper() else mock.MagicMock(name=f"{self.__name__}.{name}")
        setattr(self, name, value)
        return value


class Stage(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds vLLM's modules: files of the folder as they are, its folders as bare packages, all else as stubs."""

    def __init__(self, folder):
        self.folder = folder

    def find_spec(self, fullname, path=None, target=None):
        if fullname.split(".")[0] != "vllm":
            return None
        place = self.folder.joinpath(*fullname.split("."))
        if place.with_suffix(".py").is_file():
            return importlib.util.spec_from_file_location(fullname, place.with_suffix(".py"))
        if not place.is_dir() and ".fused_moe.router." in fullname and not fullname.endswith(".base_router"):
            return None  # what an unpatched or older tree lacks must be lacking
        spec = importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        spec.submodule_search_locations = [str(place)]
        return spec

    def create_module(self, spec):
        return Stub(spec.name)

    def exec_module(self, module):
        for name, value in SET.get(module.__name__, {}).items():
            setattr(module, name, value)


if __name__ == "__main__":
    folder, checks = Path(sys.argv[1]), Path(sys.argv[2])
    sys.meta_path.insert(0, Stage(folder))
    sys.path.insert(0, str(checks.parent))
    import importlib.util

    semantics = importlib.import_module(f"{checks.name}.router_semantics")
    print(json.dumps(semantics.run()))
