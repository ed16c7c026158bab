"""Where the images come from: raw or compressed, on the topics that image_transport uses for each."""

from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from qwen_seg_ros.ros.parameters import NodeSettings

NAMES = ("image", "depth", "camera_info", "depth_camera_info")
RAW = "raw"


def of_camera(camera: str, name: str) -> str:
    """A topic of one camera: `front/image`; of the only one, which has no name, `image`."""
    return f"{camera}/{name}" if camera else name


def input_topics(node: Node, settings: NodeSettings, camera: str = "") -> dict[str, str]:
    """Input -> resolved topic, by the transports of `settings`."""
    transports = {"image": settings.image_transport, "depth": settings.depth_image_transport}
    return {name: topic_of(node, of_camera(camera, name), transports.get(name, RAW)) for name in NAMES}


def topic_of(node: Node, name: str, transport: str) -> str:
    """`image` remapped to /camera/image_raw is /camera/image_raw/compressed; a remapping of `image/compressed` itself wins."""
    if transport == RAW:
        return node.resolve_topic_name(name)
    direct = node.resolve_topic_name(f"{name}/{transport}")
    if direct != node.resolve_topic_name(f"{name}/{transport}", only_expand=True):
        return direct
    return f"{node.resolve_topic_name(name)}/{transport}"


def image_type(transport: str) -> type:
    return Image if transport == RAW else CompressedImage
