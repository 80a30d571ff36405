"""Which trainings a sweep asks for, and which of them comes first."""

import pytest

from modelyard.cli.app import app
from modelyard.errors import BadInput, InvalidParameter, UnknownName
from modelyard.pipeline.sweep import build_trainings, group_by_processing, parse_values, rank
from modelyard.store.jobs import Job
from modelyard.workloads.registry import get_workload

SPEC = get_workload("california_housing").spec


def names(model_types, **values):
    return [one.run_name for one in build_trainings("california_housing", model_types=model_types, values=values)]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("window_size=3,6, 12", ("3", "6", "12")),
        ("alpha=1", ("1",)),
        ("bands=[1,4],[4,8]", ("[1,4]", "[4,8]")),
        ("nested=[(1,2),{a,b}],x", ("[(1,2),{a,b}]", "x")),
        ('note="a,b",c', ("a,b", "c")),
        ("note='say \"a,b\"',[',']", ('say "a,b"', "[',']")),
        ("where=a=b,c", ("a=b", "c")),
    ],
)
def test_commas_part_values_but_not_in_quotes_or_brackets(text, values):
    assert [*parse_values([text]).values()] == [values]


@pytest.mark.parametrize("text", ["alpha", "=1", "alpha=", "alpha=1,,2", "alpha=1,", "alpha=[1,2", "alpha='1,2"])
def test_values_that_cannot_be_read_are_refused_and_named(text):
    with pytest.raises(InvalidParameter) as refused:
        parse_values(["seed=1", text])
    assert repr(text) in str(refused.value)
    assert "seed=1" not in str(refused.value)


def test_a_parameter_that_is_given_twice_is_refused():
    with pytest.raises(InvalidParameter, match="name all its values at once"):
        parse_values(["alpha=1", "alpha=2"])


def test_every_combination_is_one_training_and_lacks_what_its_model_type_has_not():
    assert names(["ridge", "hist_gradient_boosting"], alpha=["0.5", "2"], max_iter=["5", "10"], max_depth=["none"]) == [
        "ridge alpha=0.5",
        "ridge alpha=2.0",
        "hist_gradient_boosting max_iter=5 max_depth=none",
        "hist_gradient_boosting max_iter=10 max_depth=none",
    ]


def test_without_a_model_type_it_is_the_first_of_the_workload():
    assert names([], max_iter=["5"]) == [f"{next(iter(SPEC.model_types))} max_iter=5"]


def test_the_same_training_is_asked_for_once():
    assert names(["ridge", "ridge"], alpha=["1", "1.0", "2"]) == ["ridge alpha=1.0", "ridge alpha=2.0"]


def test_a_parameter_that_no_model_type_has_is_refused():
    with pytest.raises(UnknownName, match="'alpha'"):
        names(["ridge"], alhpa=["1"])
    with pytest.raises(UnknownName, match="max_iter"):
        names(["ridge"], max_iter=["5"])
    with pytest.raises(UnknownName, match="'ridge'"):
        names(["rigde"], alpha=["1"])


def test_values_that_are_not_taken_are_named_each_once():
    with pytest.raises(InvalidParameter) as refused:
        names(["hist_gradient_boosting"], max_iter=["5", "many", "0"], max_depth=["1", "2"])
    assert [problem.partition(": parameter")[0] for problem in refused.value.problems] == [
        "hist_gradient_boosting max_iter=many max_depth=1",
        "hist_gradient_boosting max_iter=0 max_depth=1",
    ]


def test_more_trainings_than_a_sweep_has_are_refused():
    with pytest.raises(BadInput, match="asks for 201 trainings, and a sweep has at most 200"):
        names(["ridge"], seed=[str(seed) for seed in range(201)])


def test_trainings_on_other_rows_are_on_another_dataset():
    requests = build_trainings(
        "california_housing", model_types=["ridge"], values={"seed": ["1", "2"], "alpha": ["1", "2"]}
    )
    assert [[one.run_name for one in group] for group in group_by_processing(requests)] == [
        ["ridge seed=1 alpha=1.0", "ridge seed=1 alpha=2.0"],
        ["ridge seed=2 alpha=1.0", "ridge seed=2 alpha=2.0"],
    ]


def make_job(name, state="succeeded", **metrics):
    values = dict.fromkeys(Job.__dataclass_fields__) | {
        "state": state,
        "arguments": {"run_name": name},
        "result": {"training": {"metrics": metrics, "run_id": f"run-{name}", "run_url": f"url-{name}"}},
    }
    return Job(**values)


def rank_names(*jobs, spec=SPEC):
    ranking = rank(spec, jobs)
    return ranking.rows, [place.job.arguments["run_name"] for place in ranking.places]


def test_the_lowest_error_of_validation_rows_comes_first_whatever_test_rows_say():
    jobs = [
        make_job("worse", validation_rmse=0.6, test_rmse=0.1),
        make_job("best", validation_rmse=0.4, test_rmse=0.9),
        make_job("lost", state="failed"),
    ]
    assert rank_names(*jobs) == ("validation", ["best", "worse"])


def test_where_one_training_has_no_validation_metric_test_rows_rank_all_of_them():
    jobs = [
        make_job("a", validation_rmse=0.1, test_rmse=0.5),
        make_job("b", test_rmse=0.4),
        make_job("none"),
    ]
    assert rank_names(*jobs) == ("test", ["b", "a", "none"])


def test_a_metric_that_is_better_when_higher_ranks_the_other_way():
    from dataclasses import replace

    r2 = next(metric for metric in SPEC.metrics if metric.higher_is_better)
    spec = replace(SPEC, metrics=(r2,))
    jobs = [
        make_job("low", validation_r2=0.1),
        make_job("high", validation_r2=0.9),
        make_job("nan", validation_r2=float("nan")),
    ]
    assert rank_names(*jobs, spec=spec) == ("validation", ["high", "low", "nan"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["california_housing", "--best", "--no-wait"], "--best registers"),
        ([], "name a workload"),
        (["california_housing", "--resume", "1234"], "name a workload"),
        (["--resume", "1234", "--set", "alpha=1"], "has its trainings"),
        (["california_housing", "--data", "a.csv", "--dataset", "houses"], "--data and --dataset each say"),
    ],
)
def test_options_that_contradict_each_other_are_refused(words, said):
    with pytest.raises(BadInput, match=said):
        app(["sweep", *words], standalone_mode=False)
