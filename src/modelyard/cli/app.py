"""The command ``modelyard``: which commands there are."""

import typer

from modelyard.cli import (
    blend,
    container,
    contract,
    datasets,
    digest,
    doctor,
    drift,
    evaluate,
    gate,
    gc,
    history,
    jobs,
    lineage,
    policy,
    predict,
    promotion,
    reconcile,
    reproduce,
    runs,
    stack,
    sweep,
    train,
    user,
    worker,
    workers,
    workloads,
)

app = typer.Typer(
    name="modelyard",
    help="Takes a model from raw data to live traffic with proof at every step.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
    epilog="Exit codes: 0 done and passed, 1 failed, 2 not possible as asked, 3 the answer is no, 130 interrupted.",
)
app.command()(train.train)
app.command()(train.process)
app.command()(sweep.sweep)
app.command()(blend.blend)
app.command()(reproduce.reproduce)
app.command()(drift.drift)
app.command()(evaluate.evaluate)
app.add_typer(contract.app, name="contract")
app.command()(contract.register)
app.command()(promotion.promote)
app.command()(promotion.rollback)
app.command()(promotion.approve)
app.command()(promotion.archive)
app.add_typer(policy.app, name="policy")
app.add_typer(gate.app, name="gate")
app.command()(predict.predict)
app.command()(predict.download)
app.command()(history.history)
app.command()(history.served)
app.command()(history.policies)
app.command()(history.stages)
app.command()(runs.runs)
app.command()(runs.compare)
app.add_typer(user.app, name="user")
app.add_typer(datasets.app, name="datasets")
app.command()(lineage.lineage)
app.add_typer(jobs.app, name="jobs")
app.command()(worker.worker)
app.add_typer(workers.app, name="workers")
app.add_typer(workloads.app, name="workloads")
app.command()(stack.up)
app.command()(stack.down)
app.command()(stack.status)
app.command()(stack.env)
app.command()(stack.psql)
app.add_typer(container.app, name="container")
app.command()(digest.digest)
app.command()(doctor.doctor)
app.command()(gc.gc)
app.command()(reconcile.reconcile)
