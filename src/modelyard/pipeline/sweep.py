"""A sweep: which trainings are asked for, checked as a whole before anything is written, and which of them is best."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal

from modelyard.errors import BadInput, InvalidParameter, UnknownName
from modelyard.pipeline.request import TrainingRequest, build_request
from modelyard.store.jobs import Job
from modelyard.workloads.contract import Metric, Parameters, Workload, WorkloadSpec
from modelyard.workloads.registry import build_parameters

MAX_TRAININGS = 200
UNREGISTERED = "unregistered"  # argument of a training that ends with its run
_OPENING = {"(": ")", "[": "]", "{": "}"}
_RUN_NAME_LIMIT = 250


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A training of a sweep with its value of the ranking's metric; NaN where it has none."""

    job: Job
    value: float
    run_id: str
    run_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """The trainings that have succeeded, the best one first.

    Attributes:
        metric: the workload's primary metric.
        rows: of which it was computed; ``test`` where a training has logged none of validation rows.
        places: one a training.
    """

    metric: Metric
    rows: Literal["validation", "test"]
    places: tuple[Place, ...]

    @property
    def logged_as(self) -> str:
        """The metric as a run has it, e.g. ``validation_rmse``."""
        return f"{self.rows}_{self.metric.name}"


def parse_values(texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Parameter → its values from texts such as ``window_size=3,6,12``.

    A comma in quotes or brackets parts nothing: ``bands=[1,4],[4,8]`` has two values, ``note="a,b"`` has one.

    Raises:
        InvalidParameter: a text without ``=``, an empty value, a quote or bracket that is not closed; all of them.
    """
    values: dict[str, tuple[str, ...]] = {}
    problems = []
    for text in texts:
        name, _, given = (part.strip() for part in text.partition("="))
        try:
            if not name or not given:
                raise ValueError("write name=value or name=value,value")
            if name in values:
                raise ValueError(f"{name} was given before; name all its values at once, parted by commas")
            values[name] = tuple(_split(given))
        except ValueError as error:
            problems.append(f"{text!r} cannot be read: {error}")
    if problems:
        raise InvalidParameter(problems)
    return values


def _split(text: str) -> list[str]:
    """What stands between the commas of a text that are in no quotes or brackets; quotes around a whole value go."""
    parts, begin, closing = [], 0, ""  # closing: what ends the quotes and brackets that are open, the innermost last
    for place, letter in enumerate(text):
        if closing and letter == closing[-1]:
            closing = closing[:-1]
        elif closing[-1:] in ("'", '"'):
            continue
        elif letter in "'\"":
            closing += letter
        elif letter in _OPENING:
            closing += _OPENING[letter]
        elif letter == "," and not closing:
            parts.append(text[begin:place])
            begin = place + 1
    if closing:
        raise ValueError(f"{closing[-1]} is missing")
    values = [part.strip() for part in (*parts, text[begin:])]
    if not all(values):
        raise ValueError("a value is empty")
    return [v[1:-1] if len(v) > 1 and v[0] == v[-1] and v[0] in "'\"" else v for v in values]


def build_trainings(
    named: str | Workload, *, model_types: Sequence[str], values: Mapping[str, Sequence[str]]
) -> list[TrainingRequest]:
    """Every combination of model types and values once, each checked; its run is named after what was varied.

    A parameter that a model type does not have is left out for that type.

    Args:
        named: the workload, or the name of one that ships.
        model_types: its model types; none for its first.
        values: parameter → values, as text.

    Raises:
        UnknownName: a model type, or a parameter that none of the model types has.
        InvalidParameter: values that are not taken, each problem once.
        BadInput: more than ``MAX_TRAININGS`` combinations.
    """
    base = build_request(named)
    spec = base.workload.spec
    chosen = tuple(dict.fromkeys(model_types)) or (base.model_type,)
    fields = {name: _get_fields(spec, name) for name in chosen}
    known = dict.fromkeys(field for of_type in fields.values() for field in of_type)
    for name in values:
        if name not in known:
            raise UnknownName(f"parameter of {', '.join(chosen)}", name, known)
    nb_asked = sum(math.prod(len(given) for name, given in values.items() if name in fields[t]) for t in chosen)
    if nb_asked > MAX_TRAININGS:
        raise BadInput(
            f"this asks for {nb_asked:,} trainings, and a sweep has at most {MAX_TRAININGS}; name fewer values"
        )
    requests: dict[str, TrainingRequest] = {}
    problems: dict[str, str] = {}
    for model_type in chosen:
        taken = {name: given for name, given in values.items() if name in fields[model_type]}
        for combination in product(*taken.values()):
            one = dict(zip(taken, combination, strict=True))
            try:
                _, parameters = build_parameters(base.workload, model_type=model_type, values=one)
            except InvalidParameter as error:
                problems |= {
                    text: f"{_label(model_type, one)}: {text}" for text in error.problems if text not in problems
                }
                continue
            typed = parameters.model_dump(mode="json")
            label = _label(model_type, {name: typed[name] for name in one})
            request = replace(base, model_type=model_type, parameters=parameters, run_name=label, given=frozenset(one))
            requests.setdefault(json.dumps([model_type, typed], sort_keys=True), request)
    if problems:
        raise InvalidParameter([*problems.values()])
    return [*requests.values()]


def _get_fields(spec: WorkloadSpec, model_type: str) -> Mapping[str, Any]:
    if model_type not in spec.model_types:
        raise UnknownName("model type", model_type, spec.model_types, hint=f"Workload: {spec.name}.")
    return spec.model_types[model_type].model_fields


def _label(model_type: str, values: Mapping[str, Any]) -> str:
    text = " ".join([model_type, *(f"{name}={_show(value)}" for name, value in values.items())])
    return text if len(text) <= _RUN_NAME_LIMIT else f"{text[: _RUN_NAME_LIMIT - 1]}…"


def _show(value: Any) -> str:
    """A value as one gives it."""
    if isinstance(value, str):
        return value
    return "none" if value is None else json.dumps(value)


def group_by_processing(requests: Sequence[TrainingRequest]) -> list[list[TrainingRequest]]:
    """The trainings that are done on one dataset, together: those whose processing parameters are the same."""
    groups: dict[str, list[TrainingRequest]] = {}
    for request in requests:
        groups.setdefault(json.dumps(request.processing_parameters(), sort_keys=True), []).append(request)
    return [*groups.values()]


def adopt_processing(request: TrainingRequest, processing: Parameters) -> TrainingRequest:
    """The training with the processing parameters of the dataset that it is done on."""
    values = request.parameters.model_dump() | processing.model_dump()
    return replace(request, parameters=type(request.parameters).model_validate(values))


def rank(spec: WorkloadSpec, jobs: Sequence[Job]) -> Ranking:
    """Order the trainings that have succeeded by the primary metric of validation rows, if all have logged it."""
    metric = spec.primary_metric
    trained = [job for job in jobs if job.state == "succeeded"]
    on_validation = all(find_score(spec, job)[0].startswith("validation_") for job in trained)
    rows: Literal["validation", "test"] = "validation" if on_validation else "test"
    places = [
        Place(
            job=job,
            value=job.result["training"]["metrics"].get(f"{rows}_{metric.name}", math.nan),
            run_id=job.result["training"]["run_id"],
            run_url=job.result["training"]["run_url"],
        )
        for job in trained
    ]
    sign = -1 if metric.higher_is_better else 1
    places.sort(key=lambda place: (math.isnan(place.value), sign * place.value))
    return Ranking(metric=metric, rows=rows, places=tuple(places))


def find_score(spec: WorkloadSpec, job: Job) -> tuple[str, float]:
    """The primary metric of a training that has succeeded, and its name: of validation rows, else of test rows."""
    metrics, name = job.result["training"]["metrics"], spec.primary_metric.name
    logged_as = f"validation_{name}" if f"validation_{name}" in metrics else f"test_{name}"
    return logged_as, metrics.get(logged_as, math.nan)
