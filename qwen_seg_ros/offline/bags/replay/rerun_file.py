"""A recording and the folder of its replay -> replay.rrd, for the rerun viewer (rerun.io): a time line to move along.

/camera/image/colour                     the picture; beside it answers/INSTRUCTION/masks and boxes
/measured                                points of the depth image, as many as a viewer turns smoothly
/answers/INSTRUCTION/boxes, clouds, grasps   objects in 3-D; clouds are the cleaned ones of the result bag
/status, /milliseconds/STAGE             how each answer ended, and what it took
"""

import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rosbags.highlevel import AnyReader

from qwen_seg_ros.drawing import BEST_GRASP, OTHER_GRASP, color
from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.arrays import Matrix4
from qwen_seg_ros.geometry.transform import inverse, move_points, quaternion_from_rotation
from qwen_seg_ros.offline.bags.replay.output import BAG, LATENCIES, RESULTS
from qwen_seg_ros.offline.bags.replay.report.answered import pictured_answers
from qwen_seg_ros.offline.bags.replay.report.pictures import HAND_EDGES, Found, camera_from_answer, found_in, hand_corners
from qwen_seg_ros.offline.bags.replay.report.reading import Folder, read_folder
from qwen_seg_ros.offline.bags.result_messages import CLOUD, OBJECTS

FILE = "replay.rrd"
POINTS = 40_000  # of a depth image, at most
JPEG_QUALITY = 85
GRASP_RADIUS_M, POINT_RADIUS_M = 0.002, 0.0015
IMAGE, ANSWERS = "camera/image", "answers"


def write_rerun_file(bag: Path, out: Path) -> Path:
    """Make `out`/replay.rrd from the files of a replay, finished or not, and the recording's pictures; no model is needed.

    Holds the answers that the report has pictures of: 60 at most, evenly chosen, each of them about a megabyte at most.

    Raises:
        ImportError: rerun is not installed (the extra `viz`).
        InvalidInputError: `out` holds no replay or a damaged one, or `bag` is another recording than was answered.
    """
    folder = read_folder(out)
    writer = _Writer(out / FILE, bag.resolve().name)
    clouds, spent = _clouds(folder), _spent(folder)
    try:
        for _, answers in groupby(pictured_answers(bag, folder), key=lambda entry: id(entry[0])):
            _write_moment(writer, list(answers), clouds, spent, folder)
    finally:
        writer.close()
    return out / FILE


def _write_moment(
    writer: "_Writer", answers: list[Any], clouds: Iterator[tuple[int, Any]], spent: list[dict[str, float]], folder: Folder
) -> None:
    """All answers on one view. A frame that cannot be read has no picture: its status says why."""
    view = answers[0][0]
    writer.begin(view.stamp_ns)
    try:
        frame = view.look().frame
    except InvalidInputError:
        frame = None
    for number, (_, place, line) in enumerate(answers):
        writer.status(line)
        writer.milliseconds(spent[place] if place < len(spent) else {})
        objects = next((message for at, message in clouds if at == place), None)
        if frame is None:
            continue
        try:
            found, to_camera = found_in(line, frame), camera_from_answer(frame, line)
        except (KeyError, TypeError, ValueError, InvalidInputError) as error:
            where = f"{folder.path / RESULTS}, line {place + 1}"
            raise InvalidInputError(f"{where} is no answer to this picture ({error!r}); run the replay again") from error
        if number == 0:
            writer.frame(frame, inverse(to_camera), line["frame"] == line["camera_frame"])
        writer.answer(str(line["instruction"]), found, objects, (frame.height, frame.width))


class _Writer:
    """One file; knows rerun."""

    def __init__(self, file: Path, name: str) -> None:
        import rerun
        import rerun.blueprint as views

        self._rr = rerun
        self._to = rerun.RecordingStream("qwen_seg_ros")
        self._to.send_recording_name(name)
        self._to.save(file, default_blueprint=_layout(views))
        classes = [(number, str(number), color(number)) for number in range(1, 256)]
        self._to.log("/", rerun.AnnotationContext([(0, "nothing", (0, 0, 0, 0)), *classes]), static=True)

    def begin(self, stamp_ns: int) -> None:
        """A moment of the recording; what was answered before is gone."""
        self._to.set_time("recording", timestamp=np.datetime64(stamp_ns, "ns"))
        for path in (ANSWERS, f"{IMAGE}/{ANSWERS}", "measured"):
            self._to.log(path, self._rr.Clear(recursive=True))

    def frame(self, frame: Frame, answer_from_camera: Matrix4, in_camera: bool) -> None:
        rr = self._rr
        axes = rr.ViewCoordinates.RDF if in_camera else rr.ViewCoordinates.RIGHT_HAND_Z_UP
        self._to.log("/", axes, static=True)
        self._to.log("camera", rr.Transform3D(translation=answer_from_camera[:3, 3], mat3x3=answer_from_camera[:3, :3]))
        picture = cv2.imencode(".jpg", np.ascontiguousarray(frame.rgb[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
        self._to.log(f"{IMAGE}/colour", rr.EncodedImage(contents=picture.tobytes(), media_type="image/jpeg"))
        if frame.camera is None:
            return
        size = [frame.width, frame.height]
        self._to.log(IMAGE, rr.Pinhole(image_from_camera=frame.camera.matrix, resolution=size, image_plane_distance=0.1))
        if frame.depth_m is not None:
            points, colors = _measured(frame)
            self._to.log("measured", rr.Points3D(move_points(answer_from_camera, points), colors=colors, radii=POINT_RADIUS_M))

    def answer(self, instruction: str, found: Found, objects: Any, size: tuple[int, int]) -> None:
        """objects: the message with their clouds, None = there is none; size: height and width of the picture."""
        name = self._rr.escape_entity_path_part(instruction)
        if found.segmentation.instances:
            self._in_image(f"{IMAGE}/{ANSWERS}/{name}", found, size)
        if found.boxes:
            self._in_space(f"{ANSWERS}/{name}", found, objects)

    def _in_image(self, path: str, found: Found, size: tuple[int, int]) -> None:
        rr, instances = self._rr, found.segmentation.instances
        labels = np.zeros(size, np.uint8)
        for number, item in reversed(list(enumerate(instances, start=1))):
            labels[item.mask.rows_cols][item.mask.crop] = min(number, 255)
        numbers = list(range(1, len(instances) + 1))
        self._to.log(f"{path}/masks", rr.SegmentationImage(labels, opacity=0.5))
        boxes = np.stack([item.box_px for item in instances])
        names = [f"{item.phrase} {item.score:.2f}" for item in instances]
        self._to.log(f"{path}/boxes", rr.Boxes2D(array=boxes, array_format=rr.Box2DFormat.XYXY, labels=names, class_ids=numbers))

    def _in_space(self, path: str, found: Found, objects: Any) -> None:
        rr, names = self._rr, {plan.object_id: plan.phrase for plan in found.plans}
        boxes = [(number, box.pose, box.size_m) for number, box in found.boxes.items()]
        self._to.log(
            f"{path}/boxes",
            rr.Boxes3D(
                centers=[pose[:3, 3] for _, pose, _ in boxes],
                half_sizes=[size / 2 for _, _, size in boxes],
                quaternions=[rr.Quaternion(xyzw=quaternion_from_rotation(pose[:3, :3])) for _, pose, _ in boxes],
                labels=[names.get(number, "") for number, _, _ in boxes],
                class_ids=[number for number, _, _ in boxes],
            ),
        )
        if objects is not None and objects.objects:
            clouds = [np.frombuffer(item.cloud.data.tobytes(), CLOUD) for item in objects.objects]
            numbers = np.repeat([item.id for item in objects.objects], [len(cloud) for cloud in clouds])
            points = np.concatenate([np.stack([cloud[axis] for axis in "xyz"], axis=1) for cloud in clouds])
            self._to.log(f"{path}/clouds", rr.Points3D(points, class_ids=numbers, radii=POINT_RADIUS_M))
        grasps = [(grasp, number == 0) for plan in found.plans for number, grasp in enumerate(plan.grasps)]
        if grasps:
            strips = [hand_corners(grasp, np.eye(4))[list(edge)] for grasp, _ in grasps for edge in HAND_EDGES]
            tints = [BEST_GRASP if best else OTHER_GRASP for _, best in grasps for _ in HAND_EDGES]
            self._to.log(f"{path}/grasps", rr.LineStrips3D(strips, colors=tints, radii=GRASP_RADIUS_M))

    def status(self, line: dict[str, Any]) -> None:
        said = ": ".join(filter(None, (str(line["status"]), str(line["message"]))))
        level = self._rr.TextLogLevel.INFO if line["status"] in ("OK", "NOT_FOUND") else self._rr.TextLogLevel.WARN
        self._to.log("status", self._rr.TextLog(f"{line['instruction']!r}: {said}", level=level))

    def milliseconds(self, spent: dict[str, float]) -> None:
        for stage, value in spent.items():
            self._to.log(f"milliseconds/{self._rr.escape_entity_path_part(stage)}", self._rr.Scalars(float(value)))

    def close(self) -> None:
        self._to.disconnect()


def _layout(views: Any) -> Any:
    """Picture and time line of words on the left, 3-D on the right."""
    words = views.Horizontal(views.TextLogView(origin="status"), views.TimeSeriesView(origin="milliseconds"))
    return views.Blueprint(
        views.Horizontal(
            views.Vertical(views.Spatial2DView(origin=IMAGE, name="picture"), words, row_shares=[3, 1]),
            views.Spatial3DView(origin="/", name="3-D"),
        ),
        collapse_panels=True,
    )


def _measured(frame: Frame) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Points (N, 3) in the camera's frame and their colours (N, 3), from a regular share of the pixels."""
    assert frame.depth_m is not None and frame.camera is not None
    step = max(1, int(np.ceil(np.sqrt(frame.depth_m.size / POINTS))))
    rows, cols = (places * step for places in np.nonzero(np.isfinite(frame.depth_m[::step, ::step])))
    points = frame.camera.deproject(np.stack([cols, rows], axis=1), frame.depth_m[rows, cols])
    return points, frame.rgb[rows, cols]


def _clouds(folder: Folder) -> Iterator[tuple[int, Any]]:
    """Place of an answer and its message of objects, in the order of the answers; nothing where the run was not finished."""
    if not (folder.path / BAG).is_dir():
        return
    wanted = set(folder.pictured)
    with AnyReader([folder.path / BAG]) as reader:
        objects = [connection for connection in reader.connections if connection.topic == OBJECTS]
        for place, (connection, _, raw) in enumerate(reader.messages(objects) if objects else ()):
            if place in wanted:
                yield place, reader.deserialize(raw, connection.msgtype)


def _spent(folder: Folder) -> list[dict[str, float]]:
    """Milliseconds by stage of every answer; [] where the run was not finished."""
    file = folder.path / LATENCIES
    return json.loads(file.read_text()).get("answers", []) if file.is_file() else []
