"""Writes the pages of docs/reference that `pages` names from the code; with --check it only looks.

What it reads is data (contracts, `activemimic_description/stack_topics.py`, `launching/parameters.py`, `graph.py`) and
the command line's own declarations, so that neither ROS nor a GPU is needed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from activemimic_bringup.cli.main import app
from activemimic_bringup.launching.graph import GRAPHS
from activemimic_bringup.launching.parameters import NODES, Parameter
from activemimic_description.contract import Contract, load_contract
from activemimic_description.stack_topics import SERVICES, TOPICS
from activemimic_policy.checked_policy import SHIPPED
from activemimic_rollout.publishing import published_evaluations, success_table
from activemimic_rollout.trials.trial_plan import FIRST_HELD_OUT_SEED, published_plan
from activemimic_sim.tasks import TASKS
from activemimic_sim.tasks.task import LASTS_S
from activemimic_sim.world.perturbations import PERTURBATIONS
from activemimic_training.egocentric.settings.pipeline_config import EgocentricConfig
from activemimic_training.trainer.setup.train_config import TrainConfig
from pydantic import BaseModel
from pydantic.fields import FieldInfo

REFERENCE = Path(__file__).parent / "reference"
WRITTEN = "<!-- Written by docs/generate.py; change the code instead. -->\n"

# What sim_node declares. Held against the running node by tests/integration/test_graph_in_ros.py.
SIM = (
    Parameter("contract", "g1_sim", "Robot contract: a shipped name or the path of a YAML file."),
    Parameter("task", "reaching", f"Task of the next reset: {', '.join(TASKS)}.", run_time=True),
    Parameter("seed", 0, "Seed of the next reset.", 0, 2**31 - 1, run_time=True),
    Parameter(
        "cell",
        -1,
        "Cell of the task's trial plan in which the next reset places; -1: drawn.",
        -1,
        2**31 - 1,
        run_time=True,
    ),
    Parameter(
        "perturbations",
        "",
        f"Perturbations of the next reset, separated by commas: {', '.join(PERTURBATIONS)}.",
        run_time=True,
    ),
)


def pages() -> dict[str, str]:
    """The text of every generated page, by file name."""
    return {
        "topics.md": topics_page(),
        "parameters.md": parameters_page(),
        "tasks.md": tasks_page(),
        "cli.md": cli_page(),
        "training.md": training_page(),
        "policies.md": policies_page(),
        "egocentric.md": egocentric_page(),
    }


def topics_page() -> str:
    contract = load_contract("g1_sim")
    return "\n".join(
        [
            "# Topics and services",
            WRITTEN,
            "The robot's own topics are those of its contract ([contract](contract.md)); here those of `g1_sim`, the "
            "simulated G1.",
            "",
            *_table(("topic", "type", "from", "rate", "QoS"), _contract_rows(contract)),
            "",
            "## The stack's topics",
            "",
            *_table(
                ("topic", "type", "from", "meaning"),
                [(f"`{t.name}`", f"`{t.type}`", t.publisher, t.meaning) for t in TOPICS],
            ),
            "",
            "All of them are reliable, volatile, and recorded with every episode.",
            "",
            "## Services",
            "",
            *_table(("service", "type", "meaning"), [(f"`{s.name}`", f"`{s.type}`", s.meaning) for s in SERVICES]),
            "",
        ]
    )


def policies_page() -> str:
    lines = [
        "# Shipped policies",
        WRITTEN,
        "They lie in `activemimic_policy/activemimic_policy/checkpoints`, each with its card, its training "
        "configuration and its evaluations, and are found by their names: `activemimic eval --task finding --policy "
        "finding`, `activemimic up sim task:=finding checkpoint:=finding`. All are trained and tried in simulation. "
        "None of the scenes they were tried in was seen by training. The intervals (Wilson) are those of the trials "
        "alone; another seed of the training would give another policy.",
        "",
    ]
    for folder in sorted(SHIPPED.iterdir()):
        evaluations = published_evaluations(folder).values()
        lines += [f"## {folder.name}", "", *_table(*success_table(evaluations)), ""]
    lines += [
        "After the interval: medians of the time of a success, of the time at which the head camera first saw the "
        "target (at least 20 pixels of it), and of how far the head turned, there and back; not watched through ROS.",
        "",
    ]
    return "\n".join(lines)


def tasks_page() -> str:
    lines = [
        "# Tasks",
        WRITTEN,
        "The paper's four tasks with its sizes and trial counts (Table 2), on the simulated G1. Objects are moved by "
        f"contact alone. The last stage has to hold for {LASTS_S:g} s to be a success; a point is given for each stage "
        "in bold.",
        "",
    ]
    for name, task in TASKS.items():
        plan = published_plan(name)
        stages = ", ".join(f"**{stage}**" if stage in task.point_stages else stage for stage in task.stages)
        instructions = "; ".join(f"“{text}”" for text in task.instructions)
        rows = [
            ("environment", f"`activemimic/{name.capitalize()}-v0`"),
            ("stages", stages),
            ("time limit", f"{task.time_limit_s:g} s"),
            ("trials", f"{len(plan.trials)}, over {task.cells} cells"),
            ("instructions", instructions),
        ]
        about = " ".join((sys.modules[task.__module__].__doc__ or "").split()).partition(": ")[2]
        about = about[:1].upper() + about[1:]
        lines += [f"## {name.capitalize()}", "", about, "", *_table(("", ""), rows), ""]
        lines += [f"![What the cameras see at each stage of {name}](../images/{name}.png)", ""]
    lines += [
        "Pictures: `activemimic sim sheet --task TASK`.",
        "",
        "## Perturbations",
        "",
        "Of any scene, to be combined: `--perturbation NAME`, repeatable, for `activemimic eval`, `sim demos` and "
        "`sim sheet`; `perturbations:=a,b` for a launched simulator. With and without them, a seed places alike.",
        "",
        *_table(("name", "what changes"), [(f"`{name}`", kind.about) for name, kind in PERTURBATIONS.items()]),
        "",
        "## Seeds",
        "",
        f"The published trial plans (`activemimic_rollout/trials/plans`) hold the seeds from {FIRST_HELD_OUT_SEED} "
        "on, each with the cell of the scene that it fills. `activemimic sim demos` refuses those seeds and "
        "`dataset build` leaves their episodes out, so that no policy "
        "learns from a scene that it is tried on.",
        "",
        "## gymnasium",
        "",
        "```python",
        "import gymnasium",
        "",
        'env = gymnasium.make("activemimic_sim.environments:activemimic/Reaching-v0", perturbations=["random_look"])',
        "observation, info = env.reset(seed=0)",
        'observation, reward, terminated, truncated, info = env.step(observation["agent_pos"])',
        'info["is_success"], info["points"], info["stage"], info["instruction"]',
        "```",
        "",
        "A step is 1/30 s. The action is where the robot shall go (20 slots; rad, m, gripper 0 open to 1 closed). The "
        'observation is `pixels` (224 x 224 RGB by camera) and `agent_pos`. `reset(options={"cell": k})` chooses the '
        'cell. For several at once, `gymnasium.make_vec(…, vectorization_mode="async", vector_kwargs={"context": '
        '"spawn"})`: an OpenGL context must not be forked.',
        "",
    ]
    return "\n".join(lines)


def parameters_page() -> str:
    lines = [
        "# Parameters and launch arguments",
        WRITTEN,
        "## Nodes",
        "",
        "Parameters marked *at run time* may be set while the node runs (`ros2 param set`); the others when it starts.",
        "",
    ]
    for node, parameters in {"sim": SIM, **NODES}.items():
        lines += [f"### /{node}", ""]
        lines += [*_table(("parameter", "default", "meaning"), map(_parameter_row, parameters)), ""]
    lines += [
        "## Graphs",
        "",
        "Arguments of `ros2 launch activemimic_bringup GRAPH.launch.py name:=value` and of "
        "`activemimic up GRAPH name:=value`, which start the same nodes.",
        "",
    ]
    for graph in GRAPHS.values():
        lines += [f"### {graph.name}", "", graph.description, ""]
        rows = [
            (f"`{a.name}`", _value(a.default), _capital(a.description) + _choices(a.choices)) for a in graph.arguments
        ]
        lines += [*_table(("argument", "default", "meaning"), rows), ""]
    return "\n".join(lines)


def cli_page() -> str:
    lines = [
        "# Command line",
        WRITTEN,
        "`activemimic --debug COMMAND …` shows the traceback of an error, which is one line otherwise. Exit code 1: "
        "something failed; 2: what was given cannot be used.",
        "",
    ]
    for path, command in _commands(typer.main.get_command(app), []):
        arguments = [p for p in command.params if type(p).__name__ == "TyperArgument"]
        options = [p for p in command.params if p not in arguments and p.name != "help"]
        words = " ".join([*path, *("[options]" for _ in options[:1]), *map(_metavar, arguments)])
        lines += [f"## {' '.join(path[1:])}", "", f"    {words}", "", " ".join((command.help or "").split()), ""]
        rows = [(f"`{_metavar(a)}`", _default(a), a.help or "") for a in arguments]
        rows += [(f"`{', '.join(o.opts)}`", _default(o), o.help or "") for o in options]
        lines += [*_table(("", "default", "meaning"), rows), ""]
    return "\n".join(lines)


def training_page() -> str:
    about = (
        "Fields of the YAML file that `activemimic train` reads; on the command line `field=value` and "
        "`section.field=value`. [Train a policy](../how-to/train.md) tells when to use them."
    )
    return _configuration_page("Training configuration", about, TrainConfig)


def egocentric_page() -> str:
    about = (
        "Fields of the YAML file that `activemimic ego run --config` reads; on the command line "
        "`--set section.field=value`. [Egocentric video](../how-to/egocentric-video.md) tells when to use them."
    )
    return _configuration_page("Egocentric configuration", about, EgocentricConfig)


def _configuration_page(title: str, about: str, config: type[BaseModel]) -> str:
    lines = [f"# {title}", WRITTEN, about, ""]
    for name, section in _sections(config, ""):
        heading = f"`{name}`" if name else "The run"
        lines += [f"## {heading}", "", " ".join((section.__doc__ or "").split()), ""]
        rows = [
            (f"`{field}`", _field_type(about.annotation), _field_default(about), about.description or "")
            for field, about in section.model_fields.items()
            if not _sections_of(about.annotation)
        ]
        lines += [*_table(("field", "type", "default", "meaning"), rows), ""] if rows else []
    return "\n".join(lines)


def _sections(section: type[BaseModel], name: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """A section and those inside it, by the names that lead to them."""
    yield name, section
    for field, about in section.model_fields.items():
        found = _sections_of(about.annotation)
        for inner in found:
            choice = f" ({_kind(inner)})" if len(found) > 1 or _kind(inner) else ""
            yield from _sections(inner, (f"{name}.{field}" if name else field) + choice)


def _sections_of(annotation: Any) -> list[type[BaseModel]]:
    """The section that a field holds, or those of which it holds one."""
    if isinstance(annotation, type):
        return [annotation] if issubclass(annotation, BaseModel) else []
    if get_origin(annotation) in (dict, tuple, Literal):
        return [it for it in get_args(annotation) if isinstance(it, type) and issubclass(it, BaseModel)]
    return [section for it in get_args(annotation) for section in _sections_of(it)]


def _kind(section: type[BaseModel]) -> str:
    """Which of several it is, by the field that tells them apart."""
    for name in ("backend", "kind"):
        choices = get_args(section.model_fields[name].annotation) if name in section.model_fields else ()
        if len(choices) == 1:
            return f"{name}: {choices[0]}"
    return ""


def _field_type(annotation: Any) -> str:
    names = {int: "whole number", float: "number", str: "text", bool: "true or false", Path: "path"}
    if annotation in names:
        return names[annotation]
    origin, inner = get_origin(annotation), [it for it in get_args(annotation) if it not in (type(None), ...)]
    if origin is Literal:
        return ", ".join(f"`{it}`" for it in inner)
    if origin is tuple:
        return f"list of {_field_type(inner[0])}"
    if origin is dict:
        return f"{_field_type(inner[0])}: {_field_type(inner[1])}"
    if origin is Annotated:
        return _field_type(inner[0])
    return " or ".join(dict.fromkeys(_field_type(it) for it in inner))


def _field_default(about: FieldInfo) -> str:
    if about.is_required():
        return "required"
    default = about.default
    if isinstance(default, tuple):
        default = f"[{', '.join(map(str, default))}]"
    return "none" if default is None else _value(default)


def _contract_rows(contract: Contract) -> Iterator[tuple[str, ...]]:
    for name, camera in contract.cameras.items():
        what = f"robot: camera {name}, {camera.width}x{camera.height} {camera.encoding}"
        yield f"`{camera.topic}`", f"`{camera.type}`", what, f"{camera.rate_hz:g} Hz", _qos(camera.qos)
    for source in contract.state:
        yield f"`{source.topic}`", f"`{source.type}`", "robot: joints", f"{source.rate_hz:g} Hz", _qos(source.qos)
    for sink in contract.commands:
        yield f"`{sink.topic}`", f"`{sink.type}`", "controller", "`rate_hz` of /controller", _qos(sink.qos)


def _qos(qos: Any) -> str:
    return f"{qos.reliability.replace('_', ' ')}, {qos.durability.replace('_', ' ')}, depth {qos.depth}"


def _parameter_row(parameter: Parameter) -> tuple[str, ...]:
    meaning = parameter.description + _choices(parameter.choices)
    if parameter.minimum is not None:
        meaning += f" From {parameter.minimum:.12g} to {parameter.maximum:.12g}."
    if parameter.run_time:
        meaning += " *At run time.*"
    return f"`{parameter.name}`", _value(parameter.default), meaning


def _choices(choices: Sequence[str]) -> str:
    return f" One of {', '.join(f'`{choice}`' for choice in choices)}." if choices else ""


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _value(value: object) -> str:
    return f"`{str(value).lower() if isinstance(value, bool) else value}`" if value != "" else "empty"


def _commands(command: Any, path: list[str]) -> Iterator[tuple[list[str], Any]]:
    """Every command that does something, with the words that call it."""
    path = path or ["activemimic"]
    commands = getattr(command, "commands", None)
    if commands is None:
        yield path, command
        return
    for name, child in commands.items():
        yield from _commands(child, [*path, name])


def _metavar(argument: Any) -> str:
    if argument.metavar:
        return str(argument.metavar)
    name = argument.name.upper() + ("…" if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    if parameter.default is None or parameter.default is False:
        return ""
    return _value(parameter.default)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"

    return [line(head), line(["---"] * len(head)), *map(line, rows)]


def main() -> int:
    """Write the pages, or with --check name those that differ; the exit code."""
    check = "--check" in sys.argv[1:]
    stale = []
    for name, text in pages().items():
        path = REFERENCE / name
        if check and (not path.exists() or path.read_text(encoding="utf-8") != text):
            stale.append(name)
        elif not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    if stale:
        print(f"not up to date: {', '.join(stale)}; run python docs/generate.py", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
