"""Who may import whom, and what every package and every tracked file must be."""

from __future__ import annotations

import ast
import builtins
import importlib.util
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "ros2_ws/src"
FOLDERS = {
    "activemimic_description": SOURCES / "activemimic_description",
    "activemimic_control": SOURCES / "activemimic_control",
    "activemimic_policy": ROOT / "activemimic_policy",
    "activemimic_data": SOURCES / "activemimic_data",
    "activemimic_sim": SOURCES / "activemimic_sim",
    "activemimic_rollout": SOURCES / "activemimic_rollout",
    "activemimic_training": ROOT / "training",
    "activemimic_bringup": ROOT / "activemimic_bringup",
}
ROS_PACKAGES = [name for name in FOLDERS if name != "activemimic_training"]
ON_THE_ROBOT = {"activemimic_description", "activemimic_control", "activemimic_policy", "activemimic_data"}
MAY_IMPORT = {
    "activemimic_description": set(),
    "activemimic_control": {"activemimic_description"},
    "activemimic_policy": {"activemimic_description", "activemimic_control"},
    "activemimic_data": {"activemimic_description"},
    "activemimic_sim": {"activemimic_description", "activemimic_control"},
    "activemimic_rollout": ON_THE_ROBOT | {"activemimic_sim"},
    "activemimic_training": ON_THE_ROBOT | {"activemimic_sim", "activemimic_rollout"},
    "activemimic_bringup": set(FOLDERS),
}
WITHOUT_TORCH = ("activemimic_description", "activemimic_control", "activemimic_data")
NODES_ON_THE_ROBOT = ("policy_node", "controller_node", "recorder_node")
# The only modules that run with ROS alone. `launching/parameters.py` is data and must not import it either.
WITH_ROS = re.compile(
    r"activemimic_bringup\.nodes\.(?!operator_key$|manual_recording$)\w+|activemimic_bringup\.cli\.manual"
    r"|activemimic_bringup\.monitor\.watcher|activemimic_sim\.sim_node"
)
# May import ROS inside a function: what makes the installed message classes.
WITH_ROS_LATER = {"activemimic_description.messages"}
WITH_LAUNCH = {"activemimic_bringup.launching.ros_launch"}
IS_ROS = re.compile(r"rclpy|rcl_interfaces|rosidl\w*|std_srvs|builtin_interfaces|\w+_msgs")
IS_LAUNCH = re.compile(r"launch|launch_ros")
UNSAFE_YAML = re.compile(r"yaml\.(?:unsafe_load|full_load|Loader|UnsafeLoader|FullLoader)\b")
MOST_BYTES = 1_000_000
CHECKPOINTS = ROOT / "activemimic_policy/activemimic_policy/checkpoints"
MOST_CHECKPOINT_BYTES = 15_000_000  # of all that are shipped


@dataclass(frozen=True)
class Import:
    """A module, or a name in it, that is imported. `at_start`: when the importing module is imported itself."""

    module: str
    line: int
    target: str
    at_start: bool
    name: str = ""

    @property
    def full(self) -> str:
        return f"{self.target}.{self.name}" if self.name else self.target

    @property
    def top(self) -> str:
        return self.target.split(".")[0]

    def __str__(self) -> str:
        return f"{self.module}, line {self.line}: imports {self.target}"


def modules() -> Iterator[tuple[str, Path]]:
    for package, folder in FOLDERS.items():
        for path in sorted((folder / package).rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            yield ".".join(part for part in parts if part != "__init__"), path


MODULES = dict(modules())


def imports_of(name: str, path: Path) -> Iterator[Import]:
    yield from _walk(name, ast.parse(path.read_text(encoding="utf-8"), str(path)), at_start=True)


def _walk(name: str, node: ast.AST, at_start: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.Import):
            yield from (Import(name, child.lineno, alias.name, at_start) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"{name}, line {child.lineno}: a relative import"
            yield from (Import(name, child.lineno, child.module or "", at_start, alias.name) for alias in child.names)
        else:
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _walk(name, child, at_start and not inside)


IMPORTS = [found for name, path in MODULES.items() for found in imports_of(name, path)]


def test_the_walk_finds_every_package() -> None:
    for package in FOLDERS:
        assert any(found.module.startswith(package) for found in IMPORTS), package
    assert any(found.top == "rclpy" for found in IMPORTS)
    assert any(not found.at_start for found in IMPORTS)


@pytest.mark.parametrize("package", FOLDERS)
def test_a_package_imports_of_ours_only_what_it_may(package: str) -> None:
    allowed = MAY_IMPORT[package] | {package}
    wrong = [
        str(found)
        for found in IMPORTS
        if found.module.split(".")[0] == package and found.top in FOLDERS and found.top not in allowed
    ]
    assert wrong == []


def test_nothing_on_the_robot_needs_what_is_not_installed_there() -> None:
    """Policy node, controller and recorder run without simulator, rollouts and training; most of it without torch."""
    for package in WITHOUT_TORCH:
        assert [str(found) for found in IMPORTS if found.module.startswith(package) and found.top == "torch"] == []
    elsewhere = set(FOLDERS) - ON_THE_ROBOT - {"activemimic_bringup"}
    for node in NODES_ON_THE_ROBOT:
        reached = reachable(f"activemimic_bringup.nodes.{node}")
        assert {name for name in reached if name.split(".")[0] in elsewhere} == set(), node


def test_the_rooms_of_a_package_do_not_import_each_other_in_circles() -> None:
    for package in FOLDERS:
        assert circles(package, depth=2) == [], package
    for room in ("activemimic_training.egocentric", "activemimic_training.trainer"):
        assert circles(room, depth=3) == [], room


def reachable(start: str) -> set[str]:
    """Every module of ours that is imported when `start` is."""
    found, pending = {start}, [start]
    while pending:
        module = pending.pop()
        for name in {*_targets(module), *_parents(module)} - found:
            found.add(name)
            pending.append(name)
    return found


def _parents(module: str) -> set[str]:
    parts = module.split(".")
    return {".".join(parts[:count]) for count in range(1, len(parts))} & set(MODULES)


def _targets(module: str, at_start: bool = True) -> set[str]:
    """The modules of ours that `module` imports: names that are modules themselves, else the modules they come from."""
    imported = {found.full for found in IMPORTS if found.module == module and (found.at_start or not at_start)}
    return {full if full in MODULES else full.rpartition(".")[0] for full in imported} & set(MODULES)


def circles(prefix: str, depth: int) -> list[list[str]]:
    """Rooms below `prefix` that import each other in a circle. A room is a sub-package, or a module beside them."""
    edges: dict[str, set[str]] = {}
    for module in (name for name in MODULES if name.startswith(prefix + ".")):
        for target in _targets(module, at_start=False):
            rooms = [".".join(name.split(".")[:depth]) for name in (module, target)]
            if rooms[0] != rooms[1] and target.startswith(prefix + "."):
                edges.setdefault(rooms[0], set()).add(rooms[1])
    try:
        list(TopologicalSorter(edges).static_order())
    except CycleError as error:
        return [error.args[1]]
    return []


def test_only_nodes_import_ros() -> None:
    wrong = [
        str(found)
        for found in IMPORTS
        if IS_ROS.fullmatch(found.top)
        and not WITH_ROS.fullmatch(found.module)
        and not (found.module in WITH_ROS_LATER and not found.at_start)
    ]
    assert wrong == []


def test_only_the_launch_shell_imports_launch() -> None:
    wrong = [str(found) for found in IMPORTS if IS_LAUNCH.fullmatch(found.top) and found.module not in WITH_LAUNCH]
    assert wrong == []


def test_launch_files_only_name_their_graph() -> None:
    files = sorted((ROOT / "launch").glob("*.launch.py"))
    assert files
    for path in files:
        targets = {found.target for found in imports_of(path.name, path)}
        assert targets <= {"launch", "activemimic_bringup.launching.ros_launch", "__future__"}, path.name


def test_everything_but_the_nodes_can_be_imported_without_ros() -> None:
    names = [name for name in MODULES if not WITH_ROS.fullmatch(name) and name not in WITH_LAUNCH]
    script = f"""
import importlib, re, sys
class NoRos:
    def find_spec(self, name, path=None, target=None):
        if re.fullmatch({IS_ROS.pattern + "|" + IS_LAUNCH.pattern!r}, name.split(".")[0]):
            raise ModuleNotFoundError(f"blocked: {{name}}", name=name)
sys.meta_path.insert(0, NoRos())
for name in {names!r}:
    importlib.import_module(name)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_every_error_of_the_project_has_one_base() -> None:
    """`ActiveMimicError` decides what is one line for the person, and with which code a command ends."""
    built_in = {name for name, kind in vars(builtins).items() if isinstance(kind, type)}
    wrong = []
    for name, path in MODULES.items():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and node.name.endswith("Error"):
                bases = {ast.unparse(base) for base in node.bases}
                if bases <= built_in and node.name != "ActiveMimicError":
                    wrong.append(f"{name}: {node.name}({', '.join(bases)})")
    assert wrong == ["activemimic_bringup.nodes.ros_client: StoppedError(Exception)"]  # ends a loop, is told to nobody


def test_no_module_unpickles() -> None:
    wrong = [str(found) for found in IMPORTS if found.top in {"pickle", "cPickle", "dill", "cloudpickle", "shelve"}]
    for name, path in MODULES.items():
        text = path.read_text()
        wrong += [f"{name}: {found}" for found in UNSAFE_YAML.findall(text)]
        for call in (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)):
            function = ast.unparse(call.func)
            options = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            if function == "torch.load" and options.get("weights_only") != "True":
                wrong.append(f"{name}, line {call.lineno}: torch.load without weights_only=True")
            if function in {"np.load", "numpy.load"} and options.get("allow_pickle", "False") != "False":
                wrong.append(f"{name}, line {call.lineno}: {function} with allow_pickle")
    assert wrong == []


@pytest.mark.parametrize("package", ROS_PACKAGES)
def test_package_xml_and_setup_py_agree(package: str) -> None:
    folder = FOLDERS[package]
    manifest = ET.parse(folder / "package.xml").getroot()
    setup = _setup_arguments(folder / "setup.py")
    for key in ("name", "version", "description", "license"):
        assert setup[key] == (manifest.findtext(key) or "").strip(), key
    assert setup["name"] == package
    assert (folder / "resource" / package).is_file()


@pytest.mark.parametrize("package", ROS_PACKAGES)
def test_package_xml_names_every_package_of_ours_that_is_imported(package: str) -> None:
    manifest = ET.parse(FOLDERS[package] / "package.xml").getroot()
    named = {element.text for element in manifest.findall("exec_depend")}
    imported = {found.top for found in IMPORTS if found.module.split(".")[0] == package and found.top in FOLDERS}
    # Training is a plain Python package, not one of the ROS workspace.
    assert imported - {package, "activemimic_training"} <= named


def test_colcon_calls_every_package_ament_python() -> None:
    if importlib.util.find_spec("colcon_core") is None:
        pytest.skip("colcon is not installed")
    command = [sys.executable, "-m", "colcon", "--log-base", "/dev/null", "list"]
    result = subprocess.run(command, cwd=ROOT / "ros2_ws", capture_output=True, text=True, check=True)
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert {name: kind for name, _, kind in rows} == dict.fromkeys(ROS_PACKAGES, "(ros.ament_python)")


def test_no_tracked_file_is_large() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    assert paths
    sizes = {path: path.stat().st_size for path in paths if path.is_file()}
    shipped = {path for path in sizes if path.is_relative_to(CHECKPOINTS)}
    assert {str(path): size for path, size in sizes.items() if size > MOST_BYTES and path not in shipped} == {}
    assert sum(sizes[path] for path in shipped) < MOST_CHECKPOINT_BYTES


def _setup_arguments(path: Path) -> dict[str, object]:
    """The literal keyword arguments of the file's call of setup()."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    (call,) = [call for call in calls if ast.unparse(call.func) == "setup"]
    return {
        keyword.arg: keyword.value.value
        for keyword in call.keywords
        if keyword.arg and isinstance(keyword.value, ast.Constant)
    }
