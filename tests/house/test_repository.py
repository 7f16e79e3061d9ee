"""The repository as a stranger finds it: sizes, names, versions, and what its pages promise."""

import ast
import configparser
import re
import subprocess
import sys
from importlib.metadata import entry_points, packages_distributions
from importlib.metadata import version as installed_version
from pathlib import Path

import pytest

import modelyard
from modelyard.cli.datasets import datasets
from modelyard.cli.keys import keys
from modelyard.cli.plugin import plugin

ROOT = Path(__file__).parents[2]
LONGEST = 400
"""Lines of a file: past that, two nouns share it."""

VENDORED = ("web/static/",)
GENERATED = ("_pb2.py", "_pb2.pyi")
# A machine's own folders, and names or addresses of machines that are not everybody's.
PERSONAL = re.compile(
    r"""(?<![\w./-])/(?:work|root|Users|home/(?!user\b|me\b|you\b)\w+)/\w
    | (?<![\w.])/tmp/\w+/\w
    | \b(?:10|192\.168)(?:\.\d{1,3}){2,3}\b
    | \b172\.(?:1[6-9]|2\d|3[01])(?:\.\d{1,3}){2}\b
    | \b[\w-]+\.(?:internal|corp|lan|intranet)\b""",
    re.VERBOSE,
)


def tracked_files() -> list[str]:
    """What is committed, or would be; without git (an unpacked archive) there is nothing to ask."""
    git = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [name for name in sorted(done.stdout.splitlines()) if (ROOT / name).is_file()]


def own_texts() -> dict[str, str]:
    """Every text file of ours."""
    texts = {}
    for name in tracked_files():
        if name.startswith(VENDORED) or name.endswith(GENERATED):
            continue
        try:
            texts[name] = (ROOT / name).read_text("utf-8")
        except UnicodeDecodeError:
            continue
    return texts


def package_modules() -> dict[str, str]:
    texts = own_texts()
    outside = ("tests/", "examples/", "benchmarks/", "docs/", ".")
    return {n: t for n, t in texts.items() if n.endswith(".py") and not n.startswith(outside)}


@pytest.fixture(scope="module")
def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def test_no_file_is_longer_than_one_thought():
    pinned = {"LICENSE", "constraints.txt"}
    long = {
        name: text.count("\n")
        for name, text in own_texts().items()
        if text.count("\n") > LONGEST and name not in pinned
    }
    assert long == {}


def test_no_module_changes_a_global():
    changed = [
        f"{name}:{node.lineno}"
        for name, text in own_texts().items()
        if name.endswith(".py")
        and not name.startswith("tests/old_plugins/old_modules/")  # as others'
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Global)
    ]
    assert changed == []


def test_no_file_is_called_by_what_it_is_not():
    vague = {"utils.py", "util.py", "helpers.py", "helper.py", "common.py", "misc.py"}
    assert [name for name in tracked_files() if Path(name).name in vague] == []


def test_no_committed_file_names_one_machine():
    found = [
        f"{name}:{number}: {line.strip()[:80]}"
        for name, text in own_texts().items()
        if name != "tests/house/test_repository.py"
        for number, line in enumerate(text.splitlines(), 1)
        if PERSONAL.search(line)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("line", "personal"),
    [
        ("/home/anna/models", True),
        ("http://192.168.1.20:5000", True),
        ("registry.internal", True),
        ("/home/user/models, /var/lib/modelyard, 127.0.0.1:5000, 0.0.0.0", False),
        ("https://example.org/home/page", False),
    ],
)
def test_a_machines_own_path_or_address_is_recognised(line, personal):
    assert bool(PERSONAL.search(line)) is personal


def test_every_module_is_in_a_package_that_setup_cfg_lists(setup_cfg):
    listed = set(setup_cfg["options"]["packages"].split())
    folders = {".".join(("modelyard", *Path(name).parts[:-1])) for name in package_modules()}
    assert folders - listed == set(), "these would be missing in the wheel"
    assert listed - folders == set(), "these are listed and not there"


def test_the_version_has_one_source(setup_cfg):
    assert setup_cfg["metadata"]["version"] == "attr: modelyard.__version__"
    assert installed_version("modelyard") == modelyard.__version__
    assert f"## {modelyard.__version__}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_the_commands_are_installed_and_answer():
    commands = entry_points(group="console_scripts").select(name="modelyard")
    assert [command.value for command in commands] == ["modelyard.cli.main:main"]
    for command in (
        [Path(sys.executable).parent / "modelyard"],
        [sys.executable, "-m", "modelyard"],
    ):
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=30)
        assert done.returncode == 0 and modelyard.__version__ in done.stdout, done


def test_the_readme_names_the_commands_and_they_exist():
    readme = (ROOT / "README.md").read_text("utf-8")
    for command in ("make demo", "make test", "make check", "modelyard serve", "TORCH_INDEX"):
        assert command in readme, f"README.md says nothing of `{command}`"
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):(?!=)", makefile, re.MULTILINE))
    assert {"install", "demo", "test", "test-slow", "check", "serve", "bench"} <= targets
    pages = readme + (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    assert set(re.findall(r"`(?:\w+=\S+ )?make ([a-z-]+)", pages)) <= targets


@pytest.mark.parametrize("group", [keys, datasets, plugin], ids=lambda group: group.name)
def test_the_page_of_the_command_line_names_every_command_of_a_group(group):
    page = (ROOT / "docs" / "cli.md").read_text("utf-8")
    names = [f"modelyard {group.name} {name}" for name in group.commands]
    assert [name for name in names if name not in page] == []


def test_links_between_the_pages_lead_somewhere():
    broken = [
        f"{name}: {target}"
        for name, text in own_texts().items()
        if name.endswith(".md")
        for target in re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", text)
        if not (ROOT / name).parent.joinpath(target).exists()
    ]
    assert broken == []


def test_every_imported_library_is_declared(setup_cfg):
    """By the base install, or by the extra of what only some modules import."""
    base = _names(setup_cfg["options"]["install_requires"])
    extras = setup_cfg["options.extras_require"]
    demo = base | _names(extras["demo"]) | _names(extras["export"])
    distributions = packages_distributions()
    undeclared = set()
    for name, text in package_modules().items():
        declared = demo if name.startswith("models_plugin/image_classifier/") else base
        if name == "api/spans.py":  # imported under `try` by api/tracing.py
            declared = base | _names(extras["otel"])
        if name == "api/access/signatures.py":  # by api/access/token_port.py
            declared = base | _names(extras["oidc"])
        if name.startswith("api/grpc/"):  # by api/grpc_port.py
            declared = base | _names(extras["grpc"])
        for library in _libraries(text):
            owners = {_normal(owner) for owner in distributions.get(library, [library])}
            if not owners & declared and not _is_optional(library, text):
                undeclared.add((name, library))
    assert undeclared == set()


def test_every_pin_lies_in_the_range_that_setup_cfg_gives(setup_cfg):
    from packaging.requirements import Requirement

    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    pins = {_normal(name): pin for name, pin in pins.items()}
    assert not any("+" in pin or "/" in pin for pin in pins.values())
    ranges = [setup_cfg["options"]["install_requires"]]
    ranges += list(setup_cfg["options.extras_require"].values())
    for text in ranges:
        for requirement in map(Requirement, filter(None, text.splitlines())):
            assert pins[_normal(requirement.name)] in requirement.specifier, requirement


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _names(requirements: str) -> set[str]:
    lines = filter(None, requirements.splitlines())
    return {_normal(re.split(r"[ <>=!~;\[]", line)[0]) for line in lines}


def _libraries(source: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {"modelyard"}


def _is_optional(library: str, source: str) -> bool:
    """Imported under `try` with an `except ImportError`: the module does without."""
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.Try)
            and any(
                "ImportError" in ast.unparse(handler.type)
                for handler in node.handlers
                if handler.type
            )
            and library in _libraries(ast.unparse(ast.Module(node.body, [])))
        ):
            return True
    return False


def test_every_body_is_read_where_its_sender_is_told_to_send_it():
    """A client may wait for that word (`Expect: 100-continue`, api/expecting.py)."""
    reading = re.compile(r"request\.(read|text|json|post|multipart)\(\)|request\.content(?!\w|_)")
    may = {"api/unpacked.py", "api/expecting.py", "api/port/handler.py"}
    found = {n for n, t in package_modules().items() if n.startswith("api/") and reading.search(t)}
    assert found - may == set()
