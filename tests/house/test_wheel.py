"""What is built is what stands in the tree: nothing missing, nothing stray."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))
NOT_SHIPPED = {".pyc"}


def tree_files() -> set[str]:
    """What a wheel must hold of the tree: the root's modules, and all that stands in a room."""
    rooms = [path for room in ROOMS for path in (ROOT / room).rglob("*") if path.is_file()]
    shipped = [*ROOT.glob("*.py"), ROOT / "py.typed", *rooms]
    names = {path.relative_to(ROOT).as_posix() for path in shipped}
    return {name for name in names if Path(name).suffix not in NOT_SHIPPED}


def build_wheel(source: Path, out: Path) -> set[str]:
    """Builds `source` with this environment's tools; the names in the wheel, as in the tree."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)]
    done = subprocess.run([*command, str(source)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    ours = {name for name in names if ".dist-info/" not in name}
    assert {name.split("/")[0] for name in ours} == {"modelyard"}
    return {name.removeprefix("modelyard/") for name in ours}


def copy_tree(to: Path) -> Path:
    """The tree without what git ignores: pip and build work in place."""
    for room in ROOMS:
        shutil.copytree(ROOT / room, to / room, ignore=shutil.ignore_patterns("__pycache__"))
    for path in [*ROOT.glob("*.py"), *(ROOT / name for name in BESIDE)]:
        shutil.copy(path, to / path.name)
    return to


BESIDE = ["py.typed", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"]


@pytest.fixture
def copy(tmp_path):
    (tmp_path / "tree").mkdir()
    return copy_tree(tmp_path / "tree")


def test_the_wheel_holds_exactly_the_files_of_the_tree(copy, tmp_path):
    built = build_wheel(copy, tmp_path / "dist")
    assert built - tree_files() == set(), "shipped, and not in the tree"
    assert tree_files() - built == set(), "in the tree, and not shipped"
    assert {"py.typed", "__main__.py"} <= built


@pytest.mark.slow
def test_a_stray_file_and_a_forgotten_package_would_be_seen(copy, tmp_path):
    """The two ways in which such a layout goes wrong without a word."""
    (copy / "scratch.py").write_text("")
    setup = (copy / "setup.cfg").read_text("utf-8")
    (copy / "setup.cfg").write_text(setup.replace("    modelyard.storage\n", ""), "utf-8")
    built = build_wheel(copy, tmp_path / "dist")
    assert "scratch.py" in built - tree_files()
    assert "storage/__init__.py" in tree_files() - built
