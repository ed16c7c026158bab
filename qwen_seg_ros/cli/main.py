"""`qwen-seg`: registers the commands and turns errors of the package into one readable line."""

from importlib.util import find_spec
from typing import Any

import typer
from typer.core import TyperGroup

from qwen_seg_ros.cli import info, perceive, play, replay, segment, simulate
from qwen_seg_ros.cli.output import complain
from qwen_seg_ros.errors import QwenSegError

ABOUT = """Tell a robot in plain words what to take; get masks, 3-D objects and grasp targets.

[bold]Examples[/bold]

  qwen-seg segment picture.jpg "the red mug" --out overlay.png

  qwen-seg perceive "all cans" --bag demo/bag --frame 2

  qwen-seg info

Exit codes: 0 = found, 1 = not found or no result (the reason is printed), 2 = the request cannot be carried out.
"""


class Commands(TyperGroup):
    """An error of ours is for the user to read: no stack trace."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except QwenSegError as error:
            complain(str(error))
            raise typer.Exit(2) from error


app = typer.Typer(
    cls=Commands,
    help=ABOUT,
    no_args_is_help=True,
    rich_markup_mode="rich",
    add_completion=False,
    pretty_exceptions_show_locals=False,
)
app.command(name="segment")(segment.segment)
app.command(name="perceive")(perceive.perceive)
app.command(name="replay")(replay.replay)
app.command(name="play")(play.play)
app.command(name="info")(info.info)
app.command(name="simulate")(simulate.simulate)

if find_spec("qwen_seg_ros.cli.offline_commands"):
    from qwen_seg_ros.cli import offline_commands

    offline_commands.register(app)
