"""Words in, grasp targets out: language-driven segmentation, lifting and grasp planning for ROS 2.

The message types of this package live in a generated module of the same name (``qwen_seg_ros.msg``).
``extend_path`` merges that part with this source tree, whichever of the two Python finds first.
"""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)
__version__ = "0.1.0"
