"""What a user asks for: checked as a whole before anything is started or written."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from modelyard.errors import BadInput, InvalidParameter
from modelyard.pipeline.code_version import CodeVersion, find_code_version
from modelyard.pipeline.raw import HashedData, Named, RawData, hash_raw, locate_raw
from modelyard.pipeline.rows import check_rows
from modelyard.workloads.contract import Parameters, Workload
from modelyard.workloads.registry import build_parameters, get_workload


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRequest:
    """A training as asked for: the workload, its parameters, and names for MLflow.

    ``given`` names the parameters that somebody said, by hand or in a config; the others are defaults.
    """

    workload: Workload
    model_type: str
    parameters: Parameters
    mlflow_experiment: str
    run_name: str | None
    code: CodeVersion
    given: frozenset[str] = field(default=frozenset(), compare=False)

    @property
    def processing(self) -> Parameters:
        """Those of the parameters that processing takes, and no other."""
        cls = self.workload.spec.processing
        return cls.model_validate(self.parameters.model_dump(include={*cls.model_fields}))

    def processing_parameters(self) -> dict[str, Any]:
        """Those of the parameters that processing takes, as JSON values: what is on record with a dataset."""
        return self.processing.model_dump(mode="json")

    def arguments(self, raw: RawData | None = None, /, **options: Any) -> dict[str, Any]:
        """The request as JSON values, references only; what the same request is, is decided by these.

        Args:
            raw: the raw data, where some is processed.
            options: further arguments of the job; those that are None or False are left out.
        """
        return {
            "workload": self.workload.spec.name,
            "model_type": self.model_type,
            "parameters": self.parameters.model_dump(mode="json"),
            "mlflow_experiment": self.mlflow_experiment,
            "run_name": self.run_name,
            **({"raw": raw.reference()} if raw else {}),
            "workload_sha256": self.code.workload_sha256,
            **describe_file(self.code),
            **{name: value for name, value in options.items() if value is not None and value is not False},
        }

    def tags(self, *, user: str, command: str = "train") -> dict[str, str]:
        """Tags that every run of this request carries: whose it is, and which code made it."""
        return describe_origin(self.workload, self.code, user=user, command=command)


def describe_origin(workload: Workload, code: CodeVersion, *, user: str, command: str = "train") -> dict[str, str]:
    """Tags that say whose a run is, which command asked for it, and which code made it."""
    spec = workload.spec
    owner = {"workload": spec.name, "task": str(spec.task), "policy_id": spec.policy_id}
    return owner | describe_code(code, user=user, command=f"{command} {spec.name}")


def describe_code(code: CodeVersion, *, user: str, command: str) -> dict[str, str]:
    """Tags that say whose a run is, which command asked for it, and which code made it."""
    return {
        "code_release": code.release,
        "code_python": code.python,
        "code_dirty": str(code.dirty).lower(),
        "workload_sha256": code.workload_sha256,
        **describe_file(code),
        "mlflow.user": user,
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": f"modelyard {command}",
        **({"mlflow.source.git.commit": code.commit} if code.commit else {}),
    }


def describe_file(code: CodeVersion) -> dict[str, str]:
    """The file of a workload that does not ship, as arguments of jobs and tags of runs name it; else nothing."""
    return {"workload_file": code.workload_file} if code.workload_file else {}


def build_request(
    named: str | Workload,
    /,
    *,
    model_type: str | None = None,
    values: Mapping[str, Any] | None = None,
    config: str | None = None,
    run_name: str | None = None,
    mlflow_experiment: str | None = None,
) -> TrainingRequest:
    """Check names and parameters.

    Args:
        named: the workload, or the name of one that ships.
        model_type: one of its model types; default: the config's, else the workload's first.
        values: parameter name → value, which may be text; they win over the config's.
        config: name of a config that ships with the workload, or a YAML file of parameters (and ``model_type``).
        run_name: name of the MLflow run.
        mlflow_experiment: MLflow experiment; default: the workload's.

    Raises:
        BadInput: an unknown workload, model type, parameter or config, a value that is not taken.
    """
    workload = get_workload(named) if isinstance(named, str) else named
    config_type, config_values = _read_config(workload, config)
    given = {**config_values, **(values or {})}
    chosen, parameters = build_parameters(workload, model_type=model_type or config_type, values=given)
    for what, name in (("run name", run_name), ("MLflow experiment name", mlflow_experiment)):
        if name is not None and (not name.strip() or len(name) > 250 or not name.isprintable()):
            raise BadInput(f"the {what} {name!r} cannot be used: give 1 to 250 printable characters")
    return TrainingRequest(
        workload=workload,
        model_type=chosen,
        parameters=parameters,
        mlflow_experiment=mlflow_experiment or workload.spec.mlflow_experiment,
        run_name=run_name,
        code=find_code_version(workload),
        given=frozenset(given),
    )


def _read_config(workload: Workload, config: str | None) -> tuple[str | None, dict[str, Any]]:
    if config is None:
        return None, {}
    if config in workload.spec.configs:
        model_type, values = workload.spec.configs[config]
        return model_type, dict(values)
    path = Path(config)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        shipped = ", ".join(workload.spec.configs) or "none"
        raise BadInput(
            f"the config file {config} cannot be read ({error.strerror}); "
            f"configs that ship with {workload.spec.name}: {shipped}"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is no YAML file: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise BadInput(f"{path} must hold parameter names with values, e.g. 'learning_rate: 0.1'")
    model_type = content.pop("model_type", None)
    if not isinstance(model_type, str | None):
        raise BadInput(f"{path}: model_type must be a name, not {model_type!r}")
    return model_type, content


def parse_assignments(texts: list[str]) -> dict[str, str]:
    """Parameters from texts such as ``max_depth=6``.

    Raises:
        InvalidParameter: a text without ``=``, all of them listed.
    """
    pairs = [text.partition("=") for text in texts]
    wrong = [f"{''.join(pair)!r} is no parameter: write name=value" for pair in pairs if not (pair[0] and pair[1])]
    if wrong:
        raise InvalidParameter(wrong)
    return {name.strip(): value.strip() for name, _, value in pairs}


def check_data(
    request: TrainingRequest,
    *,
    data: Named | None,
    data_dir: Path,
    folder: Path,
    report: Callable[[str], None],
    allow_invalid: bool = False,
) -> HashedData:
    """Find raw data and check it as ``check_rows`` does; nothing is written but a download or sample into ``folder``.

    Raises:
        RawDataNotFound: data that was named is not there.
        RawDataMalformed: with every problem that was found.
        DataInvalid: rows that break an expectation, unless ``allow_invalid``.
    """
    located = locate_raw(request.workload, data=data, data_dir=data_dir, folder=folder, report=report)
    hashed = hash_raw(located)
    check_rows(
        request.workload,
        located,
        parameters=request.processing,
        expectations=request.workload.spec.expectations,
        allow_invalid=allow_invalid,
        report=report,
    )
    return hashed


def read_request(arguments: Mapping[str, Any]) -> TrainingRequest:
    """A request from its arguments as they were recorded, perhaps by an earlier release; checked again.

    Raises:
        BadInput: this release does not take them any more.
    """
    return build_request(
        get_workload(str(arguments.get("workload")), arguments.get("workload_file")),
        model_type=arguments.get("model_type"),
        values=arguments.get("parameters"),
        run_name=arguments.get("run_name"),
        mlflow_experiment=arguments.get("mlflow_experiment"),
    )
