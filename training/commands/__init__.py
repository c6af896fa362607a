"""The data scientist's commands, a module a noun; they compose, and compute nothing."""

import typer

from training.commands import backtest, history, learning, models, rule

app = typer.Typer()
for each in (history, learning, rule, models, backtest):
    app.add_typer(each.app)
