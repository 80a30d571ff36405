"""What a training ran in: packages, processor and threads, kept with the run and with the model version."""

import json
import os
import platform
import tempfile
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import joblib
from archspec.cpu import brand_string, detect
from mlflow import MlflowClient
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from threadpoolctl import threadpool_info  # type: ignore[import-untyped,unused-ignore]

from modelyard.data.predictions import digest_predictions
from modelyard.pipeline.models import ask
from modelyard.tracking.runs import ActiveRun
from modelyard.workloads.contract import Processed

ENVIRONMENT_PATH = "environment.json"
PREDICTIONS_DIGEST = "test_predictions_digest"
_THREAD_VARIABLES = ("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "BLIS_", "VECLIB_", "NUMEXPR_", "LOKY_")


def find_environment() -> dict[str, Any]:
    """What computed numbers can depend on beside code and data, in this process, as a JSON value.

    Libraries count their threads once they are loaded: call it after the work. ``cores`` are those that this process
    may use.
    """
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": platform.platform(),
        "c_library": " ".join(platform.libc_ver()).strip(),
        "cpu": {
            "architecture": platform.machine(),
            "model": brand_string() or platform.processor(),
            "features": sorted(detect.detected_info().features),
            "cores": joblib.cpu_count(),
        },
        "threads": {
            "pools": {_name_pool(pool): _describe_pool(pool) for pool in threadpool_info()},
            "variables": {n: v for n, v in sorted(os.environ.items()) if n.startswith(_THREAD_VARIABLES)},
        },
        "packages": list_packages(),
    }


def _name_pool(pool: Mapping[str, Any]) -> str:
    """The library's file name: two copies of one library are two pools."""
    return Path(pool["filepath"]).name


def _describe_pool(pool: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in pool.items() if name not in ("filepath", "prefix") and value is not None}


def list_packages() -> dict[str, str]:
    """Name → version of each installed package that Modelyard needs, directly or not, with any of its extras."""
    extras = distribution("modelyard").metadata.get_all("Provides-Extra") or []
    waiting, seen = [Requirement(f"modelyard[{','.join(extras)}]")], set()
    found: dict[str, str] = {}
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        if (name, key := frozenset(wanted.extras)) in seen:
            continue
        seen.add((name, key))
        try:
            package = distribution(name)
        except PackageNotFoundError:  # of an extra that is not installed
            continue
        found[name] = package.version
        for needed in map(Requirement, package.requires or []):
            marker = needed.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *wanted.extras)):
                waiting.append(needed)
    del found["modelyard"]  # the code version names its release
    return dict(sorted(found.items()))


def predict_test(model: Any, processed: Processed) -> Any:
    """The model's answers to all test rows at once: another batch size may round otherwise."""
    return ask(model, processed.load_rows("test")[processed.X.column_names], name="the model")


def log_environment(run: ActiveRun, model: Any, processed: Processed) -> None:
    """Log what a training ran in, and the digest of what its model answers to the test rows there."""
    value = find_environment() | {PREDICTIONS_DIGEST: digest_predictions(predict_test(model, processed))}
    run.log_files({ENVIRONMENT_PATH: json.dumps(value, indent=2, sort_keys=True)})


def load_environment(client: MlflowClient, run_id: str) -> dict[str, Any] | None:
    """What a training run has logged of its environment; None for a run of a release that did not keep it."""
    if ENVIRONMENT_PATH not in {file.path for file in client.list_artifacts(run_id)}:
        return None
    with tempfile.TemporaryDirectory(prefix="modelyard-") as folder:
        text = Path(client.download_artifacts(run_id, ENVIRONMENT_PATH, folder)).read_text(encoding="utf-8")
    value: dict[str, Any] = json.loads(text)
    return value


def list_differences(then: Mapping[str, Any], now: Mapping[str, Any], *, prefix: str = "") -> list[dict[str, Any]]:
    """What differs between two JSON values, by name: ``{"what": "packages.numpy", "then": …, "now": …}``.

    Of two lists only those elements are named that the other one lacks; None stands for what is not there.
    """
    differences = []
    for name in sorted({*then, *now}):
        old, new = then.get(name), now.get(name)
        if old == new:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            differences += list_differences(old, new, prefix=f"{prefix}{name}.")
            continue
        if isinstance(old, list) and isinstance(new, list):
            old, new = [x for x in old if x not in new], [x for x in new if x not in old]
        differences.append({"what": f"{prefix}{name}", "then": old, "now": new})
    return differences
