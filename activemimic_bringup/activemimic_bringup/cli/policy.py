"""Commands about a network and its weights: `policy inspect`, `convert`, `export` and `bench`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from activemimic_bringup.cli.error_exit import UsageProblem

if TYPE_CHECKING:
    from activemimic_policy.benchmark.measure import Measurement

app = typer.Typer(no_args_is_help=True, help="Look at a checkpoint, convert, export and time a network.")


@app.command()
def inspect(
    checkpoint: Annotated[str, typer.Argument(help="The checkpoint's folder, or a shipped one's name.")],
) -> None:
    """Print what a checkpoint needs and gives, how it was trained, and which slots its data hardly moved."""
    from activemimic_policy.checked_policy import checkpoint_folder
    from activemimic_policy.checkpoint import describe_checkpoint
    from rich.console import Console
    from rich.table import Table

    about = describe_checkpoint(checkpoint_folder(checkpoint))
    slots = about.pop("normalization")
    console = Console(highlight=False)
    facts = Table(show_header=False)
    for name, value in about.items():
        facts.add_row(name, _plain(value))
    console.print(facts)
    columns = list(slots[0])
    table = Table(*columns)
    for row in slots:
        table.add_row(*(_plain(row[column]) for column in columns))
    console.print(table)


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="A safetensors file, or a folder of them.")],
    out: Annotated[Path, typer.Argument(help="Where model.safetensors goes; must not exist.")],
    preset: Annotated[str, typer.Option(help="Sizes of the network: activemimic or pi0.")] = "pi0",
) -> None:
    """Take over PaliGemma's or pi0's weights, in any layout they are published in, as the start of a training."""
    import safetensors.torch
    from activemimic_description.common.atomic import written_beside
    from activemimic_policy.model.model_config import PALIGEMMA_VOCABULARY
    from activemimic_policy.model.model_config import preset as preset_named
    from activemimic_policy.weights import convert as run
    from activemimic_policy.weights import read_weights
    from rich.console import Console
    from rich.table import Table

    if out.exists():
        raise UsageProblem(f"{out}: exists already; choose another folder or delete it")
    if preset not in ("activemimic", "pi0"):
        raise UsageProblem(f"preset {preset!r}: expected activemimic or pi0, the sizes that others trained")
    config = preset_named(preset, cameras=1, vocab_size=PALIGEMMA_VOCABULARY, state_dim=32, action_dim=32)
    made = run(read_weights(source), config)
    with written_beside(out) as partial:
        safetensors.torch.save_file(made.weights, partial / "model.safetensors")
    console = Console(highlight=False)
    table = Table("ours", "made of", title=f"{source} as {preset}")
    for name, keys in made.sources.items():
        table.add_row(f"{name} {list(made.weights[name].shape)}", "\n".join(keys))
    console.print(table)
    for key, reason in made.unused.items():
        console.print(f"not used: {key}: {reason}", markup=False)
    millions = sum(tensor.numel() for tensor in made.weights.values()) / 1e6
    expert = "with the expert" if made.has_expert else "without an expert, which begins at random"
    console.print(f"{out}: {millions:.0f} M parameters, {expert}", markup=False)


@app.command()
def export(
    checkpoint: Annotated[Path, typer.Argument(help="The checkpoint's folder.")],
    precision: Annotated[list[str], typer.Option(help="Fp32, and int8 for the prefix; may be repeated.")] = ["fp32"],  # noqa: B006
) -> None:
    """Write a checkpoint's network as ONNX graphs into its folder, checked against the network, for runtime onnx."""
    from activemimic_policy.checkpoint import ONNX, WEIGHTS, file_sha256, load_checkpoint
    from activemimic_policy.model.flow_policy import FlowPolicy
    from activemimic_policy.runtime.onnx_export import export_onnx
    from rich.console import Console

    if unknown := sorted(set(precision) - {"fp32", "int8"}):
        raise UsageProblem(f"precision {', '.join(unknown)}: expected fp32 or int8")
    loaded = load_checkpoint(checkpoint)
    model = FlowPolicy(loaded.model)
    model.load_state_dict(loaded.weights)
    console = Console(highlight=False)
    with console.status("exporting"):
        weights = file_sha256(checkpoint / WEIGHTS)
        about = export_onnx(model, loaded.spec.num_inference_steps, checkpoint / ONNX, weights, precision)
    for name, error in about.errors.items():
        console.print(f"{checkpoint / ONNX}: {name}, chunks within {error:.1g} of their size of the network's")


@app.command()
def publish(
    checkpoint: Annotated[str, typer.Argument(help="The checkpoint's folder, or a shipped one's name.")],
    out: Annotated[Path, typer.Argument(help="The published folder, itself a checkpoint; written anew.")],
    dataset: Annotated[
        Path | None, typer.Option(help="The dataset that it learnt from; a published one may leave it out.")
    ] = None,
    evaluation: Annotated[
        list[Path] | None, typer.Option(help="Folder of an evaluation of the published weights; may be repeated.")
    ] = None,
    noise_scale: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Of the noise that chunks start from; default: as it is.")
    ] = None,
    execution_horizon: Annotated[
        int | None, typer.Option(min=1, help="Of a chunk, before the next one is wanted; default: as it is.")
    ] = None,
) -> None:
    """Write a checkpoint as it is given to others: half the size, with its data card and its evaluations."""
    from activemimic_policy.checked_policy import checkpoint_folder
    from activemimic_rollout.publishing import CARD
    from activemimic_rollout.publishing import publish as run

    changed = {"noise_scale": noise_scale, "execution_horizon": execution_horizon}
    served = {field: value for field, value in changed.items() if value is not None}
    run(checkpoint_folder(checkpoint), dataset, evaluation or [], out, served)
    size_mb = sum(file.stat().st_size for file in out.rglob("*")) / 1e6
    typer.echo(f"{out}: {size_mb:.1f} MB; card: {out / CARD}")


@app.command()
def bench(
    checkpoint: Annotated[
        str | None,
        typer.Argument(help="A checkpoint's folder, or a shipped one's name; default: a preset with random weights."),
    ] = None,
    preset: Annotated[str, typer.Option(help="Activemimic, pi0, small or tiny.")] = "tiny",
    cameras: Annotated[int, typer.Option(min=1, help="Cameras of the preset.")] = 3,
    num_inference_steps: Annotated[int, typer.Option(min=1, help="Euler steps with the preset.")] = 10,
    runtime: Annotated[
        list[str],
        typer.Option(help="Eager, compiled, cuda_graph or onnx, with :bf16 or :int8 behind it; may be repeated."),
    ] = ["eager"],  # noqa: B006
    device: Annotated[str, typer.Option(help="Cpu, cuda, cuda:N; tensorrt with onnx.")] = "cpu",
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 2,
    runs: Annotated[int, typer.Option(min=5, help="Timed inferences, after the warm-up.")] = 50,
    as_json: Annotated[Path | None, typer.Option("--json", help="Also write everything measured to this file.")] = None,
) -> None:
    """Time inference: prefix, step and whole, against the device's limits and against a policy without a cache."""
    from activemimic_policy.benchmark.measure import Subject, measure, system
    from activemimic_policy.checked_policy import checkpoint_folder
    from activemimic_policy.model.model_config import PALIGEMMA_VOCABULARY, PRESETS
    from rich.console import Console

    if preset not in PRESETS:
        raise UsageProblem(f"preset {preset!r}: expected one of {', '.join(sorted(PRESETS))}")
    pairs = [(name, precision or "fp32") for name, _, precision in (text.partition(":") for text in runtime)]
    if checkpoint is not None:
        subject = Subject.of_checkpoint(checkpoint_folder(checkpoint))
    else:
        vocabulary = PALIGEMMA_VOCABULARY if preset in ("activemimic", "pi0") else 64
        subject = Subject.of_preset(preset, cameras, num_inference_steps, vocabulary)
    console = Console(highlight=False)
    with console.status("measuring"):
        found = measure(subject, pairs, device, threads, runs)
    title = (
        f"{checkpoint or preset}, {subject.config.cameras} cameras, {subject.num_inference_steps} flow steps, {device}"
    )
    console.print(_bench_table(found, title))
    console.print(
        f"The bound is what {found[0].device_tflops:.3g} TFLOP/s and {found[0].device_gb_per_s:.3g} GB/s allow, as "
        f"measured here. Uncached: the prefix is encoded at every step. Memory of the {found[0].memory_of}. Error: "
        "largest difference to the eager fp32 chunk, over its largest number."
    )
    if as_json is not None:
        about = {"subject": str(checkpoint or preset), "model": subject.config.model_dump(mode="json")}
        rows = [measurement.as_dict() for measurement in found]
        as_json.write_text(json.dumps({"system": system(), **about, "measurements": rows}, indent=2), encoding="utf-8")


def _bench_table(found: list[Measurement], title: str) -> Any:
    from rich.table import Table

    first = found[0].whole.median
    rows = {
        "prefix, ms": [f"{m.prefix.median:.2f}" for m in found],
        "  bound": [f"{m.prefix_roofline_ms:.2f}" for m in found],
        "step, ms": [f"{m.step.median:.3f}" for m in found],
        "  bound ": [f"{m.step_roofline_ms:.3f}" for m in found],
        "whole, ms": [f"{m.whole.median:.1f}" for m in found],
        "  p95, p99": [f"{m.whole.p95:.1f}, {m.whole.p99:.1f}" for m in found],
        "  bound  ": [f"{m.roofline_ms:.2f}" for m in found],
        "  over bound": [f"{m.over_roofline:.1f} x" for m in found],
        "  over first": [f"{m.whole.median / first:.2f} x" for m in found],
        "uncached, ms": [f"{m.uncached.median:.1f}" for m in found],
        "  over cached": [f"{m.cache_gain:.1f} x" for m in found],
        "first run, s": [f"{m.first_s:.1f}" for m in found],
        "peak memory, GB": [f"{m.peak_memory_gb:.2f}" for m in found],
        "error": [f"{m.error:.1g}" for m in found],
    }
    table = Table("median of", *(f"{m.runtime} {m.precision}" for m in found), title=title)
    for name, texts in rows.items():
        table.add_row(name, *texts)
    return table


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return "\n".join(f"{key}: {_plain(entry)}" for key, entry in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
