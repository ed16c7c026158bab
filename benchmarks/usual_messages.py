"""What `ros/messages_in` and `ros/messages_out` do, the usual way: for comparison in node_overhead.py, of no other use.

Written here after what the best-known nodes of this kind do, with the means of a plain ROS 2 installation. None of it is slow on
purpose, and arrays are assigned the fast way (`array.array`), as cv_bridge and sensor_msgs_py do today:

    picture    as cv_bridge does: to bgr8, which nodes ask it for, and to rgb for the model
    depth      passed through, then divided, and what is no measurement set to NaN
    segments   the outline of each mask as a polygon of nested points, made by a loop
    objects    a cloud per object as sensor_msgs_py's create_cloud makes it of tuples, the colour packed by `struct`
    cloud      the same of all objects, with the object's id
    labels     every mask drawn into an image of 64-bit numbers, which is then converted
    overlay    for every object a copy of the picture, filled and blended whole; then text
"""

import struct
from array import array
from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
from geometry_msgs.msg import Point32, Polygon, PolygonStamped
from numpy.typing import NDArray
from sensor_msgs.msg import Image, PointCloud2, PointField
from std_msgs.msg import Header

from qwen_seg_ros.lifting.object_cloud import ObjectCloud
from qwen_seg_ros.segmentation.result import SegmentationResult

DTYPES = {"rgb8": (np.uint8, 3), "16UC1": (np.uint16, 1)}
FIELDS = ("x", "y", "z", "rgb", "object_id")


def pixels(message: Image) -> NDArray:
    """A view of the message, (H, W) or (H, W, 3)."""
    dtype, channels = DTYPES[message.encoding]
    shape = (message.height, message.width, channels) if channels > 1 else (message.height, message.width)
    return np.ndarray(shape, dtype, buffer=message.data)


def rgb_of(message: Image) -> NDArray[np.uint8]:
    """(H, W, 3)."""
    bgr = cv2.cvtColor(pixels(message), cv2.COLOR_RGB2BGR)
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def depth_of(message: Image) -> NDArray[np.float32]:
    """(H, W) metres, NaN = no measurement."""
    depth = np.array(pixels(message), dtype=np.float32) / 1000.0
    depth[depth == 0] = np.nan
    return depth


def image_message(values: NDArray, encoding: str, header: Header) -> Image:
    message = Image(header=header, height=values.shape[0], width=values.shape[1], encoding=encoding)
    message.data.frombytes(values.tobytes())
    message.step = len(message.data) // message.height
    return message


def polygons(header: Header, segmentation: SegmentationResult) -> list[PolygonStamped]:
    """The largest outline of every mask."""
    found = []
    for instance in segmentation.instances:
        outlines, _ = cv2.findContours(instance.mask.full().astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        polygon = Polygon()
        for x, y in max(outlines, key=cv2.contourArea).reshape(-1, 2):
            polygon.points.append(Point32(x=float(x), y=float(y), z=0.0))
        found.append(PolygonStamped(header=header, polygon=polygon))
    return found


def points_of(item: ObjectCloud, with_id: bool) -> list[tuple[float, ...]]:
    points = []
    for (x, y, z), (red, green, blue) in zip(item.points_m, item.colors, strict=True):
        rgb = struct.unpack("f", struct.pack("I", int(red) << 16 | int(green) << 8 | int(blue)))[0]
        points.append((x, y, z, rgb, item.id) if with_id else (x, y, z, rgb))
    return points


def create_cloud(header: Header, points: list[tuple[float, ...]], with_id: bool) -> PointCloud2:
    names = FIELDS if with_id else FIELDS[:-1]
    kinds = {"object_id": (PointField.UINT32, "<u4")}
    fields = [
        PointField(name=name, offset=4 * n, datatype=kinds.get(name, (PointField.FLOAT32,))[0], count=1)
        for n, name in enumerate(names)
    ]
    layout = np.dtype([(name, kinds[name][1] if name in kinds else "<f4") for name in names])
    cloud = np.array(points, dtype=layout)
    data = array("B")
    data.frombytes(memoryview(cloud).cast("B") if len(cloud) else b"")
    return PointCloud2(
        header=header, height=1, width=len(cloud), fields=fields, is_bigendian=False, point_step=layout.itemsize,
        row_step=layout.itemsize * len(cloud), data=data, is_dense=True,
    )  # fmt: skip


def object_clouds(header: Header, objects: Iterable[ObjectCloud]) -> list[PointCloud2]:
    return [create_cloud(header, points_of(item, False), False) for item in objects]


def objects_cloud(header: Header, objects: Iterable[ObjectCloud]) -> PointCloud2:
    return create_cloud(header, [point for item in objects for point in points_of(item, True)], True)


def label_image(header: Header, segmentation: SegmentationResult, size: tuple[int, int]) -> Image:
    labels = np.zeros(size)
    for number, instance in reversed(list(enumerate(segmentation.instances, start=1))):
        labels = np.where(instance.mask.full(), number, labels)
    return image_message(labels.astype(np.uint16), "mono16", header)


def overlay(header: Header, rgb: NDArray[np.uint8], segmentation: SegmentationResult, colors: Any) -> Image:
    """colors: number of an object -> its colour."""
    picture = rgb.copy()
    for number, instance in enumerate(segmentation.instances, start=1):
        mask = instance.mask.full().astype(np.uint8)
        outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        layer = cv2.fillPoly(picture.copy(), outlines, colors(number))
        cv2.addWeighted(picture, 0.4, layer, 0.6, 0, picture)
        cv2.polylines(picture, outlines, True, colors(number), 2, cv2.LINE_AA)
        corner = (instance.mask.x_px + 5, instance.mask.y_px + 25)
        cv2.putText(picture, f"{instance.phrase} {instance.score:.3f}", corner, cv2.FONT_HERSHEY_SIMPLEX, 1, colors(number), 1)
    return image_message(picture, "rgb8", header)
