"""What a drift report compares: checked when it is asked for, read again by whoever measures it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from modelyard.data.drift import DriftLimits
from modelyard.errors import BadInput
from modelyard.pipeline.code_version import CodeVersion, find_code_version
from modelyard.pipeline.request import TrainingRequest, describe_file
from modelyard.store.catalogue import find_newest, resolve_dataset
from modelyard.store.connections import Connection
from modelyard.store.datasets import Dataset, get_dataset
from modelyard.workloads.contract import Parameters, Workload
from modelyard.workloads.registry import get_workload


@dataclass(frozen=True, slots=True, kw_only=True)
class RawCurrent:
    """Raw data that is processed to be compared, and not logged: ``raw`` as ``RawData.reference`` gives it."""

    raw: Mapping[str, Any]
    parameters: Parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftRequest:
    """What is compared: all rows of ``current`` with the training rows of ``reference``."""

    workload: Workload
    code: CodeVersion
    reference: Dataset
    current: Dataset | RawCurrent

    @property
    def limits(self) -> DriftLimits:
        return self.workload.spec.drift

    def arguments(self) -> dict[str, Any]:
        """The request as a job's arguments: JSON values, references only."""
        return {
            "workload": self.workload.spec.name,
            "mlflow_experiment": self.workload.spec.mlflow_experiment,
            **describe_file(self.code),
            "dataset_id": str(self.reference.dataset_id),
            **(
                {"raw": dict(self.current.raw), "parameters": self.current.parameters.model_dump(mode="json")}
                if isinstance(self.current, RawCurrent)
                else {"current_dataset_id": str(self.current.dataset_id)}
            ),
        }


def choose_dataset(connection: Connection, workload: Workload, text: str | None) -> Dataset:
    """A dataset of a workload: the one that ``text`` names, by default the newest of real data.

    Raises:
        UnknownName: no dataset is called so.
        BadInput: it belongs to another workload, or the workload has none.
        RecordLost: its content was deleted.
    """
    name = workload.spec.name
    found = find_newest(connection, workload=name) if text is None else resolve_dataset(connection, text)
    if found is None:
        raise BadInput(
            f"no dataset of {name} with real data is on record to compare with; modelyard process {name} makes one, "
            "or name one with --reference"
        )
    if found.workload != name:
        raise BadInput(f"dataset {found.name} {found.version} belongs to workload {found.workload}, not to {name}")
    return found


def choose_parameters(asked: TrainingRequest, reference: Dataset) -> Parameters:
    """How current raw data is processed: as the reference was, but for what somebody has given.

    Raises:
        BadInput: this release does not take the reference's parameters any more.
    """
    cls = asked.workload.spec.processing
    known = {name: value for name, value in reference.parameters.items() if name in cls.model_fields}
    given = {name: value for name, value in asked.processing_parameters().items() if name in asked.given}
    try:
        return cls.model_validate(known | given)
    except ValueError as error:
        raise BadInput(
            f"this release does not process data as {reference.name} {reference.version} was: "
            f"{' '.join(str(error).split())}; make it anew with modelyard process {reference.workload}"
        ) from None


def read_drift(connection: Connection, arguments: Mapping[str, Any]) -> DriftRequest:
    """A request from a job's arguments.

    Raises:
        BadInput: this release has no such workload, or does not take the parameters any more.
        RecordNotFound: a dataset is not on record.
    """
    workload = get_workload(str(arguments.get("workload")), arguments.get("workload_file"))
    current: Dataset | RawCurrent
    if "raw" in arguments:
        try:
            parameters = workload.spec.processing.model_validate(arguments["parameters"])
        except ValueError as error:
            problem = " ".join(str(error).split())
            raise BadInput(f"this release does not take the job's parameters: {problem}; ask for it anew") from None
        current = RawCurrent(raw=arguments["raw"], parameters=parameters)
    else:
        current = get_dataset(connection, dataset_id=UUID(arguments["current_dataset_id"]))
    return DriftRequest(
        workload=workload,
        code=find_code_version(workload),
        reference=get_dataset(connection, dataset_id=UUID(arguments["dataset_id"])),
        current=current,
    )


def name_side(side: Dataset | RawCurrent) -> str:
    """What is compared, for people: ``houses 1.0.0``, or the name of a raw file."""
    if isinstance(side, Dataset):
        return f"{side.name} {side.version}"
    names = [file["name"] for file in side.raw["files"]]
    return names[0] if len(names) == 1 else f"{len(names)} files"
