"""Results as vision_msgs 4.x, for tools that know those. Importing this module needs vision_msgs."""

from std_msgs.msg import Header
from vision_msgs.msg import (
    BoundingBox2D,
    BoundingBox3D,
    Detection2D,
    Detection2DArray,
    Detection3D,
    Detection3DArray,
    LabelInfo,
    ObjectHypothesis,
    ObjectHypothesisWithPose,
    VisionClass,
)

from qwen_seg_ros.lifting.object_cloud import ObjectCloud
from qwen_seg_ros.pipeline import PipelineResult
from qwen_seg_ros.ros.messages_out import pose_message, vector_message
from qwen_seg_ros.segmentation.result import Instance


def detections_2d(camera: Header, target: Header, result: PipelineResult | None) -> Detection2DArray:
    instances = _instances(result)
    return Detection2DArray(header=camera, detections=[_detection_2d(camera, n, i) for n, i in enumerate(instances, start=1)])


def detections_3d(camera: Header, target: Header, result: PipelineResult | None) -> Detection3DArray:
    lifted = result.lifted if result is not None else None
    return Detection3DArray(header=target, detections=[_detection_3d(target, item) for item in lifted.objects] if lifted else [])


def label_info(camera: Header, target: Header, result: PipelineResult | None) -> LabelInfo:
    """Names of the values in the label image of the same stamp."""
    classes = [VisionClass(class_id=n, class_name=i.phrase) for n, i in enumerate(_instances(result), start=1)]
    return LabelInfo(header=camera, class_map=classes, threshold=0.0)


TOPICS = {
    "detections_2d": (Detection2DArray, detections_2d),
    "detections_3d": (Detection3DArray, detections_3d),
    "label_info": (LabelInfo, label_info),
}


def _instances(result: PipelineResult | None) -> tuple[Instance, ...]:
    return result.segmentation.instances if result is not None and result.segmentation is not None else ()


def _detection_2d(head: Header, number: int, instance: Instance) -> Detection2D:
    x0, y0, x1, y1 = (float(v) for v in instance.mask.box_px)
    box = BoundingBox2D(size_x=x1 - x0, size_y=y1 - y0)
    box.center.position.x, box.center.position.y = (x0 + x1) / 2, (y0 + y1) / 2
    return Detection2D(header=head, id=str(number), bbox=box, results=[_hypothesis(instance.phrase, instance.score)])


def _detection_3d(head: Header, item: ObjectCloud) -> Detection3D:
    box = BoundingBox3D(center=pose_message(item.box.pose), size=vector_message(item.box.size_m))
    hypothesis = _hypothesis(item.phrase, item.score)
    hypothesis.pose.pose = box.center
    return Detection3D(header=head, id=str(item.id), bbox=box, results=[hypothesis])


def _hypothesis(phrase: str, score: float) -> ObjectHypothesisWithPose:
    return ObjectHypothesisWithPose(hypothesis=ObjectHypothesis(class_id=phrase, score=float(score)))
