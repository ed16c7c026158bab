"""`qwen-seg segment`: masks in one picture."""

from pathlib import Path
from typing import Annotated

import typer

from qwen_seg_ros.cli import output
from qwen_seg_ros.cli.files import frame_from_files
from qwen_seg_ros.cli.options import CheckpointOption, InstructionArgument, JsonOption, SetOption, SettingsOption, pipeline_from
from qwen_seg_ros.drawing import draw_overlay


def segment(
    image: Annotated[Path, typer.Argument(help="PNG or JPEG file.")],
    instruction: InstructionArgument,
    depth: Annotated[Path | None, typer.Option(help="Depth registered to the picture: 16-bit PNG (mm) or NPY (m).")] = None,
    camera: Annotated[Path | None, typer.Option(help="JSON with width, height, fx, fy, cx, cy.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the picture with masks, boxes and (with depth) grasps here.")] = None,
    checkpoint: CheckpointOption = "",
    settings: SettingsOption = None,
    values: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find what the words name in a picture: masks, boxes, scores; with depth and camera also positions and grasps.

    [bold]Examples[/bold]

      qwen-seg segment picture.jpg "the red mug" --out overlay.png

      qwen-seg segment picture.jpg "all cans" --json > cans.json

      qwen-seg segment rgb.png "the box" --depth depth.png --camera camera.json
    """
    frame = frame_from_files(image, depth, camera)
    result = pipeline_from(checkpoint, settings, values).run(frame, instruction)
    if as_json:
        print(output.result_json(result))
    else:
        output.print_status(result)
        if result.segmentation is not None and result.segmentation.instances:
            output.results.print(output.instance_table(result))
        if result.lifted is not None and result.lifted.objects:
            output.results.print(output.object_table(result))
    if out is not None and result.segmentation is not None:
        output.write_picture(out, draw_overlay(frame.rgb, result.segmentation, frame.camera, result.plans))
    raise typer.Exit(output.exit_code(result))
