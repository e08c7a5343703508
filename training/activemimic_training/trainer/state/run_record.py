"""What a run was made with: config.yaml, and a line in environment.jsonl every time it was started."""

from __future__ import annotations

import json
import platform
import subprocess
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
import yaml
from activemimic_description.common.atomic import write_text

from activemimic_training.trainer.setup.train_config import TrainConfig

CONFIG, ENVIRONMENT = "config.yaml", "environment.jsonl"
PACKAGES = (
    "activemimic_training",
    "activemimic_policy",
    "torch",
    "numpy",
    "av",
    "opencv-python-headless",
    "safetensors",
    "pydantic",
)


def write_record(config: TrainConfig, from_step: int, ranks: int = 1) -> None:
    """Writes the resolved configuration, which `activemimic train` reads again, and what this start ran on."""
    config.out.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    write_text(config.out / CONFIG, text)
    start = {"started": datetime.now(timezone.utc).isoformat(timespec="seconds"), "from_step": from_step}
    with (config.out / ENVIRONMENT).open("a", encoding="utf-8") as file:
        file.write(json.dumps({**start, **environment(config.device, ranks)}) + "\n")


def environment(device: str, ranks: int) -> dict[str, Any]:
    """Versions, device and revision, as plain data; no name of the machine."""
    on_gpu = device.startswith("cuda")
    return {
        "git": git_revision(Path(__file__).parent),
        "device": torch.cuda.get_device_name() if on_gpu else f"cpu {platform.machine()}",
        "cuda": torch.version.cuda if on_gpu else None,
        "ranks": ranks,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "packages": {name: _version(name) for name in PACKAGES},
    }


def git_revision(folder: Path) -> str:
    """The commit that `folder` is of, with "-dirty" where files differ from it; "unknown" outside a checkout."""
    try:
        revision = _git(folder, "rev-parse", "HEAD")
        return revision + ("-dirty" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
