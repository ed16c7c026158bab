"""`qwen-seg play`: a recording published over ROS 2 in its own time."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn

from qwen_seg_ros.cli import output
from qwen_seg_ros.cli.keys import Keys, keys
from qwen_seg_ros.errors import MissingExtraError

if TYPE_CHECKING:
    from qwen_seg_ros.offline.bags.player import Manner, Player
    from qwen_seg_ros.offline.bags.tracks import Recording

PAUSE = " "


def play(
    bag: Annotated[Path, typer.Argument(help="rosbag2 folder, .mcap, .db3 or ROS 1 .bag file.")],
    rate: Annotated[float, typer.Option(min=0.001, max=1000, help="Speed; 0.5 = half as fast as recorded.")] = 1.0,
    loop: Annotated[bool, typer.Option("--loop", help="Again and again; stamps stay as recorded, /clock jumps back.")] = False,
    topics: Annotated[list[str] | None, typer.Option(help="Only these topics: in one text, or repeated.")] = None,
    start: Annotated[float, typer.Option(min=0, help="Seconds to skip; what was latched before is sent.")] = 0.0,
    duration: Annotated[float, typer.Option(min=0, help="Seconds of the recording to play, 0 = to the end.")] = 0.0,
    clock: Annotated[float, typer.Option(min=0, max=1000, help="Publish /clock so often, Hz; 0 = not.")] = 100.0,
    paused: Annotated[bool, typer.Option("--start-paused", help="Begin paused.")] = False,
    wait_for: Annotated[list[str] | None, typer.Option(help="Begin when somebody listens to this topic.")] = None,
) -> None:
    """Publish a recording over ROS 2 in its own time, with /clock; the space bar pauses, Ctrl-C ends.

    Topics have the types and QoS they were recorded with. Types that are not installed are named and left out.
    A program pauses with the service /bag_player/pause (std_srvs/SetBool).

    [bold]Examples[/bold]

      qwen-seg play demo/bag --rate 0.5 --loop

      qwen-seg play drive.mcap --start 30 --duration 10 --topics "/camera/color/image_raw /tf /tf_static"

      qwen-seg play demo/bag --wait-for /camera/color/image_raw

    Exit codes: 0 = played, or ended by Ctrl-C, 2 = the request cannot be carried out.
    """
    with _needs_both():
        from qwen_seg_ros.offline.bags.opening import open_bag
        from qwen_seg_ros.offline.bags.player import Manner, Player
        from qwen_seg_ros.offline.bags.tracks import Recording
        from qwen_seg_ros.ros.bag_player import PlayerNode
    manner = Manner(rate, loop, clock, paused, _names(wait_for))
    with open_bag(bag) as reader:
        recording = Recording(reader, _names(topics), start, duration)
        with PlayerNode(lambda wanted: player.pause(wanted)) as node, keys() as pressed, _bar(recording, pressed) as show:

            def attend(player: "Player") -> None:
                node.serve()
                if pressed is not None and pressed.pressed() == PAUSE:
                    player.pause(not player.paused)
                show(player)

            player = Player(recording, node, manner, attend)
            _print_plan(recording, player, manner)
            with _on_signals(player.stop):
                if player.play():
                    node.flush()
                else:
                    output.console.print("stopped", highlight=False)
    times = f", {player.rounds} times" if player.rounds > 1 else ""
    output.results.print(f"played {player.sent} messages of {len(player.topics)} topics{times}", highlight=False)


@contextmanager
def _on_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C and SIGTERM. An exception would get lost where it meets a callback or a destructor of rclpy."""
    before = {number: signal.signal(number, lambda *_: stop()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _needs_both() -> Iterator[None]:
    """What reads recordings is not installed on robots, what publishes is not installed by pip."""
    try:
        yield
    except ImportError as error:
        ros = "playing needs ROS 2 (rclpy) and this package built in a workspace that is sourced"
        missing = "reading recordings needs: pip install 'qwen-seg-ros[bags]'" if "rosbags" in str(error) else ros
        robot = "; on a robot without the offline part: ros2 bag play" if "offline" in str(error) else ""
        raise MissingExtraError(f"{missing} ({error}){robot}") from error


def _names(given: list[str] | None) -> tuple[str, ...]:
    """["/a /b", "/c"] -> ("/a", "/b", "/c")."""
    return tuple(name for text in given or () for name in text.replace(",", " ").split())


@contextmanager
def _bar(recording: "Recording", pressed: Keys | None) -> Iterator:
    """A function that shows where the player is; it shows nothing where nobody looks."""
    place = TextColumn("{task.fields[time_s]:.1f} of {task.total:.1f} s, {task.fields[sent]} messages{task.fields[state]}")
    with Progress(BarColumn(), place, console=output.console, disable=not output.console.is_terminal) as bar:
        task = bar.add_task("", total=recording.length_s, time_s=0.0, sent=0, state="")
        keeps_still = ", paused (space goes on)" if pressed else ", paused"

        def show(player: "Player") -> None:
            state = keeps_still if player.paused else ""
            bar.update(task, completed=player.time_s, time_s=player.time_s, sent=player.sent, state=state)

        yield show


def _print_plan(recording: "Recording", player: "Player", manner: "Manner") -> None:
    speed = f" at {manner.rate:g} times the speed" if manner.rate != 1 else ""
    again = ", again and again" if manner.loop else ""
    listed = ", ".join(player.topics)
    output.console.print(f"{recording.length_s:.1f} s of {listed}{speed}{again}", highlight=False, soft_wrap=True, markup=False)
    for topic, reason in player.skipped.items():
        output.console.print(f"not played: {topic}: {reason}", highlight=False, soft_wrap=True, markup=False)
