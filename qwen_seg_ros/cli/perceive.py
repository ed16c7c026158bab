"""`qwen-seg perceive`: objects and grasps from RGB-D files or a recording."""

from pathlib import Path
from typing import Annotated

import typer

from qwen_seg_ros.cli import output
from qwen_seg_ros.cli.files import frame_from_bag, frame_from_files
from qwen_seg_ros.cli.options import CheckpointOption, InstructionArgument, JsonOption, SetOption, SettingsOption, pipeline_from
from qwen_seg_ros.drawing import draw_cloud, draw_overlay
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.transform import inverse
from qwen_seg_ros.pipeline import PipelineResult


def perceive(
    instruction: InstructionArgument,
    bag: Annotated[Path | None, typer.Option(help="rosbag2 folder with colour, aligned depth and camera_info.")] = None,
    number: Annotated[int, typer.Option("--frame", min=0, help="Which frame of the bag, 0 = first.")] = 0,
    image: Annotated[Path | None, typer.Option(help="PNG or JPEG file, in place of a bag.")] = None,
    depth: Annotated[Path | None, typer.Option(help="Depth registered to the picture: 16-bit PNG (mm) or NPY (m).")] = None,
    camera: Annotated[Path | None, typer.Option(help="JSON with width, height, fx, fy, cx, cy.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write overlay.png, cloud.png and result.json into this folder.")] = None,
    grasps: Annotated[bool, typer.Option(help="Plan grasps.")] = True,
    checkpoint: CheckpointOption = "",
    settings: SettingsOption = None,
    values: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """From words and depth to objects (position, size) and grasps, exactly as the node does it.

    Positions are in base_link where the bag has /tf_static, else in the camera's optical frame.

    [bold]Examples[/bold]

      qwen-seg perceive "the red mug" --bag demo/bag --frame 2 --out out/mug

      qwen-seg perceive "all cans" --image rgb.png --depth depth.png --camera camera.json --json
    """
    frame = _frame(bag, number, image, depth, camera)
    result = pipeline_from(checkpoint, settings, values).run(frame, instruction, plan_grasps=grasps)
    if as_json:
        print(output.result_json(result))
    else:
        output.print_status(result)
        if result.lifted is not None and result.lifted.objects:
            output.results.print(output.object_table(result))
    if out is not None:
        _write(out, frame, result)
    raise typer.Exit(output.exit_code(result))


def _frame(bag: Path | None, number: int, image: Path | None, depth: Path | None, camera: Path | None) -> Frame:
    if bag is not None and image is None:
        return frame_from_bag(bag, number)
    if image is not None and bag is None:
        if depth is None:
            raise typer.BadParameter("objects in 3-D need --depth and --camera beside --image; qwen-seg segment needs neither")
        return frame_from_files(image, depth, camera)
    raise typer.BadParameter("give either --bag FOLDER or --image, --depth and --camera")


def _write(folder: Path, frame: Frame, result: PipelineResult) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.json").write_text(output.result_json(result) + "\n")
    output.console.print(f"wrote {folder / 'result.json'}", highlight=False)
    if result.segmentation is not None:
        plans = result.plans
        if result.in_base and frame.base_from_camera is not None:
            plans = tuple(plan.moved(inverse(frame.base_from_camera)) for plan in plans)
        output.write_picture(folder / "overlay.png", draw_overlay(frame.rgb, result.segmentation, frame.camera, plans))
    if result.lifted is not None and result.lifted.objects:
        output.write_picture(folder / "cloud.png", draw_cloud(result.lifted, result.plans))
