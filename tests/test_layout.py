"""Rules of the tree that keep it readable and importable."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Imports go only downwards in this order; `model` stands beside it, `errors` and `devices` below all.
ORDER = [
    "cli",
    "serving",
    "training",
    "conversion",
    "preview",
    "evaluation",
    "objectives",
    "data",
    "tokenization",
    "sources",
    "specs",
    "values",
]


def package_of(path):
    part = path.relative_to(ROOT / "unified").parts[0]
    return part.removesuffix(".py")


def imported_packages(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            names = [node.module] if node.module != "unified" else [f"unified.{a.name}" for a in node.names]
        yield from (
            (n.split(".")[1], node.lineno) for n in names if n.startswith("unified.") and n.count(".")
        )


@pytest.mark.parametrize(
    "path", sorted((ROOT / "unified").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT))
)
def test_imports_go_downwards(path):
    here = package_of(path)
    for there, line in imported_packages(path):
        if there in ("errors", "devices", here) or here in ("__init__", "__main__"):
            continue
        assert here != "model", f"{path}:{line}: model imports unified.{there}; it knows nothing of tasks"
        if there == "model":
            assert here in ORDER[: ORDER.index("objectives") + 1], (
                f"{path}:{line}: {here} may not use the model"
            )
            continue
        assert here in ORDER and there in ORDER, f"{path}:{line}: unknown package {here} or {there}"
        assert ORDER.index(there) > ORDER.index(here), f"{path}:{line}: {here} imports {there}, upwards"


def test_no_module_is_a_grab_bag():
    names = {p.name for p in (ROOT / "unified").rglob("*.py")}
    assert not names & {"utils.py", "util.py", "helpers.py", "misc.py", "common.py"}


@pytest.mark.parametrize("folder", ["tokenizers", "weights"])
def test_no_python_in_data_folders(folder):
    # a package named `tokenizers` at the root would shadow Hugging Face's library
    assert not list((ROOT / folder).rglob("*.py"))


def test_transformers_imports_from_the_root_of_the_checkout():
    code = (
        "import tokenizers, transformers; assert 'site-packages' in tokenizers.__file__, tokenizers.__file__"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_help_imports_no_torch():
    code = (
        "import sys\nfrom unified.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'transformers', 'datasets', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def test_specs_import_no_torch():
    code = "import sys, unified.specs.load, unified.specs.lint; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


READER = ROOT / "unified/sources/unpickle.py"
"""The one file that reads pickles, as plain data; tests/sources/test_open_pickle.py tries to break it."""


def test_nothing_is_unpickled():
    for path in (ROOT / "unified").rglob("*.py"):
        tree = ast.parse(path.read_text())
        guarded = {
            base
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef) and path == READER
            if {"find_class", "persistent_load"} <= {getattr(d, "name", "") for d in node.body}
            for base in node.bases
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {a.name for a in node.names} | {getattr(node, "module", "") or ""}
                assert not {"dill", "cloudpickle", "joblib"} & names, path
                assert getattr(node, "module", "") != "pickle", f"{path}:{node.lineno}"
            if node in guarded:
                continue
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "pickle":
                # what torch.load raises when it refuses a file; nothing else of pickle is touched
                assert node.attr == "UnpicklingError", f"{path}:{node.lineno}"
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                options = {k.arg: ast.unparse(k.value) for k in node.keywords}
                assert options.get("weights_only") == "True", f"{path}:{node.lineno}"


def test_optional_extras_stay_off_the_default_paths():
    banned = {"torchvision", "lightning", "pytorch_lightning", "timm", "open_clip", "lpips", "matplotlib"}
    for path in [*(ROOT / "unified").rglob("*.py"), ROOT / "train.py"]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert not {a.name.split(".")[0] for a in node.names} & banned, path
            elif isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in banned, path


def test_data_folders_travel_in_the_wheel():
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    for folder in ("tokenizers", "task_specs", "configs", "weights"):
        assert wheel["force-include"][folder] == f"unified/_resources/{folder}"
        assert (ROOT / folder).is_dir()


def test_names_of_test_files_are_unique():
    """Without packages pytest knows a test file by its name alone."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert len(names) == len(set(names)), sorted({name for name in names if names.count(name) > 1})
