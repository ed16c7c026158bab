"""The node over real DDS, in a process of its own: instructions in, answers out, lifecycle, parameters, shutdown."""

import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("qwen_seg_ros.msg", reason="needs the built interfaces: make test, or source .ws/env.sh")
from action_msgs.msg import GoalStatus
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from lifecycle_msgs.msg import Transition
from node_support.fixtures import QUICK, Scene
from node_support.process import NodeProcess
from node_support.robot import EXTRAS, Robot
from node_support.two_cameras import COLOR_FRAME, DEPTH_FRAME, millimetres, two_cameras
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_srvs.srv import SetBool

from qwen_seg_ros.action import FindGraspTargets
from qwen_seg_ros.geometry.sensor_messages import stamp_ns_of
from qwen_seg_ros.msg import Status
from qwen_seg_ros.srv import Segment

pytest_plugins = ("node_support.fixtures",)


def test_an_instruction_gets_one_answer_set_with_the_image_s_stamp(robot: Robot, scene: Scene) -> None:
    segments, objects, grasps = robot.answer_set("  the   box ", scene.shot())
    assert (segments.status.code, segments.status.message) == (Status.OK, "")
    assert segments.instruction == "the box" and [s.phrase for s in segments.segments] == ["box"]
    assert (segments.height, segments.width, segments.header.frame_id) == (240, 320, "camera")
    assert abs(stamp_ns_of(segments.header.stamp) - time.time_ns()) < 60e9
    assert [o.id for o in objects.objects] == [1] and objects.objects[0].cloud.width > 20
    assert grasps.targets and grasps.gripper == "panda" and {t.object_id for t in grasps.targets} == {1}
    time.sleep(0.3)
    robot.executor.spin_once(timeout_sec=0.1)
    assert [len(robot.heard[topic]) for topic in ("segments", "objects", "grasp_targets")] == [1, 1, 1]


def test_masks_and_positions_are_those_of_the_scene(robot: Robot, scene: Scene) -> None:
    segments, objects, _ = robot.answer_set("things", scene.shot())
    for segment, mask in zip(segments.segments, scene.masks, strict=True):
        roi = segment.roi
        crop = np.frombuffer(segment.mask.data, np.uint8).reshape(roi.height, roi.width) > 0
        rows, cols = slice(roi.y_offset, roi.y_offset + roi.height), slice(roi.x_offset, roi.x_offset + roi.width)
        assert crop.sum() == mask.sum() and (mask[rows, cols] == crop).all()
    camera_from_base = np.linalg.inv(scene.frame.base_from_camera)
    for item, truth in zip(objects.objects, scene.truths, strict=True):
        expected = (camera_from_base @ [*truth.centre_m, 1])[:3]
        position = item.pose.position
        np.testing.assert_allclose([position.x, position.y, position.z], expected, atol=0.03)
    assert list(segments.absent) == ["fork"]


def test_pictures_clouds_and_markers_come_when_somebody_listens(robot: Robot, scene: Scene) -> None:
    kinds = EXTRAS | {"grasp_pose": PoseStamped}
    subscriptions = [robot.listen(topic, kind) for topic, kind in kinds.items()]
    robot.spin_until(lambda: all(robot.node.count_publishers(f"{robot.target}/{topic}") for topic in kinds))
    time.sleep(0.5)  # the node, too, has to notice that somebody listens
    segments, _, grasps = robot.answer_set("things", scene.shot())
    robot.spin_until(lambda: all(robot.heard[topic] for topic in kinds), timeout_s=5)
    heard = {topic: robot.heard[topic][-1] for topic in kinds}
    labels = np.frombuffer(heard["label_image"].data, "<u2").reshape(240, 320)
    assert [(labels == n).sum() for n in (1, 2)] == [mask.sum() for mask in scene.masks]
    assert (heard["overlay"].encoding, heard["overlay"].width) == ("rgb8", 320)
    assert heard["object_cloud"].width > 40 and "object_id" in [f.name for f in heard["object_cloud"].fields]
    assert {m.ns for m in heard["markers"].markers} >= {"objects", "names", "grasps"}
    assert heard["grasp_pose"].pose == grasps.targets[0].pose
    assert all(m.header.stamp == segments.header.stamp for topic, m in heard.items() if topic != "markers")
    for subscription in subscriptions:
        robot.node.destroy_subscription(subscription)


def test_absent_and_unreadable_are_different_answers(robot: Robot, scene: Scene) -> None:
    absent = robot.segment("the dragon", shot=scene.shot())
    assert absent.segments.status.code == Status.NOT_FOUND and not absent.segments.segments
    unreadable = robot.segment("gibberish", shot=scene.shot())
    assert unreadable.segments.status.code == Status.UNREADABLE_ANSWER and unreadable.segments.status.message


def test_the_service_plans_grasps_only_when_asked(robot: Robot, scene: Scene) -> None:
    without = robot.segment("the box", plan_grasps=False, shot=scene.shot())
    assert without.objects.objects and not without.grasp_targets.targets
    assert robot.segment("the box", plan_grasps=True, shot=scene.shot()).grasp_targets.targets


def test_the_action_tells_its_stages_and_succeeds(robot: Robot, scene: Scene) -> None:
    stages: list[int] = []
    robot.spin_until(robot.action.server_is_ready)
    goal = FindGraspTargets.Goal(instruction="the box", plan_grasps=True)
    sent = robot.action.send_goal_async(goal, feedback_callback=lambda m: stages.append(m.feedback.stage))
    robot.spin_until(sent.done, scene.shot())
    result = sent.result().get_result_async()
    robot.spin_until(result.done, scene.shot())
    assert result.result().status == GoalStatus.STATUS_SUCCEEDED
    assert result.result().result.grasp_targets.targets
    robot.spin_until(lambda: FindGraspTargets.Feedback.GRASPING in stages, timeout_s=5)
    assert stages == sorted(stages)


def test_a_goal_can_be_cancelled_while_it_waits(blind: Robot) -> None:
    assert blind.set_parameter("frame_timeout_s", 60.0)[0]
    sent = blind.action.send_goal_async(FindGraspTargets.Goal(instruction="the box"))
    blind.spin_until(sent.done)
    cancel = sent.result().cancel_goal_async()
    blind.spin_until(cancel.done)
    result = sent.result().get_result_async()
    blind.spin_until(result.done)
    assert result.result().status == GoalStatus.STATUS_CANCELED
    assert "cancelled" in result.result().result.segments.status.message
    assert blind.set_parameter("frame_timeout_s", QUICK["frame_timeout_s"])[0]


def test_a_full_queue_says_busy_and_every_request_is_answered(blind: Robot) -> None:
    futures = [blind.begin(Segment, "segment", Segment.Request(instruction=f"number {n}")) for n in range(6)]
    blind.spin_until(lambda: all(f.done() for f in futures))
    codes = [f.result().segments.status.code for f in futures]
    assert Status.BUSY in codes and Status.NO_FRAME in codes and set(codes) == {Status.BUSY, Status.NO_FRAME}
    busy = next(f.result().segments.status.message for f in futures if f.result().segments.status.code == Status.BUSY)
    assert "2 instructions wait" in busy and "queue_size" in busy


def test_a_late_answer_is_a_deadline(blind: Robot) -> None:
    assert blind.set_parameter("deadline_s", 0.1)[0]
    status = blind.segment("the box").segments.status
    assert status.code == Status.DEADLINE and "0.1 s" in status.message
    assert blind.set_parameter("deadline_s", 30)[0], "a whole number is a number"


def test_continuous_mode_follows_the_camera_and_stops(robot: Robot, scene: Scene) -> None:
    assert robot.set_parameter("mode", "continuous")[0]
    robot.answer_set("the box", scene.shot())
    robot.spin_until(lambda: len(robot.heard["segments"]) >= 4, scene.shot())
    stamps = [stamp_ns_of(m.header.stamp) for m in robot.heard["segments"]]
    assert stamps == sorted(set(stamps)), "every frame is answered once, in order"
    assert robot.set_parameter("mode", "on_instruction")[0]
    time.sleep(0.3)
    robot.spin_until(lambda: True, scene.shot())
    count = len(robot.heard["segments"])
    ends = time.monotonic() + 0.5
    robot.spin_until(lambda: time.monotonic() > ends, scene.shot())
    assert len(robot.heard["segments"]) <= count + 1


def test_in_continuous_mode_objects_keep_their_ids_between_looks_of_the_model(robot: Robot, scene: Scene) -> None:
    assert robot.set_parameter("tracking.refresh_s", 3600.0)[0]
    assert robot.set_parameter("mode", "continuous")[0]
    robot.answer_set("the box", scene.shot())
    robot.spin_until(lambda: len(robot.heard["grasp_targets"]) >= 5, scene.shot())
    (box,) = {item.track_id for message in robot.heard["objects"] for item in message.objects}
    assert {item.track_id for message in robot.heard["segments"] for item in message.segments} == {box} != {""}
    carried = robot.heard["objects"][-1]
    assert carried.status.code == Status.OK and carried.objects[0].cloud.width > 100 and robot.heard["grasp_targets"][-1].targets
    report = robot.diagnostics(lambda report: "last track ms" in report, scene.shot())
    assert "last encode ms" not in report and "last grasp ms" in report, "the model is not asked, grasps are planned anew"
    robot.answer_set("things", scene.shot())
    robot.spin_until(lambda: robot.heard["objects"][-1].instruction == "things", scene.shot())
    ids = {item.phrase: item.track_id for item in robot.heard["objects"][-1].objects}
    assert ids["box"] == box != ids["ball"], "the same thing under other words"
    assert robot.set_parameter("mode", "on_instruction")[0]
    assert robot.segment("the box", shot=scene.shot()).segments.segments[0].track_id == "", "nobody follows it"


def test_switched_off_it_says_so(robot: Robot, scene: Scene) -> None:
    assert robot.call(SetBool, "enable", SetBool.Request(data=False)).success
    status = robot.segment("the box", shot=scene.shot()).segments.status
    assert status.code == Status.BUSY and "~/enable" in status.message
    assert robot.call(SetBool, "enable", SetBool.Request(data=True)).success
    assert robot.segment("the box", shot=scene.shot()).segments.status.code == Status.OK


def test_a_camera_without_depth_still_gets_masks(blind: Robot, scene: Scene) -> None:
    segments, objects, _ = blind.answer_set("the box", scene.shot(depth=None))
    assert segments.status.code == Status.NO_DEPTH and "no depth image on /depth" in segments.status.message
    assert segments.segments and not objects.objects


def test_a_bag_that_starts_again_is_followed(blind: Robot, scene: Scene) -> None:
    for first_ns in (2000 * 10**9, 1000 * 10**9):
        blind.play(scene.shot(), first_ns, seconds=0.5)
        response = blind.segment("the box")
        assert response.segments.status.code == Status.OK
        assert first_ns <= stamp_ns_of(response.segments.header.stamp) < first_ns + 10**9


def test_without_transform_the_result_stays_in_the_camera_frame(robot: Robot, scene: Scene) -> None:
    assert robot.set_parameter("target_frame", "world")[0]
    _, objects, grasps = robot.answer_set("the box", scene.shot())
    assert objects.status.code == Status.NO_TRANSFORM and "world <- camera" in objects.status.message
    assert objects.header.frame_id == grasps.header.frame_id == "camera" and objects.objects and grasps.targets
    assert robot.set_parameter("target_frame", "")[0]


def test_depth_of_another_camera_is_registered_by_tf(blind: Robot, scene: Scene) -> None:
    """The same objects as with registered depth; diagnostics say what was done and what it took."""
    messages = pytest.importorskip("tf2_msgs.msg", reason="tf2_msgs is not on PyPI: runs in a ROS 2 workspace only")
    rig, latched = two_cameras(3, ["box", "ball"]), QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    wanted = blind.segment("things", shot=rig.shot(depth=millimetres(rig.color), depth_frame_id=COLOR_FRAME))
    broadcaster = blind.node.create_publisher(messages.TFMessage, "/tf_static", latched)
    broadcaster.publish(messages.TFMessage(transforms=[rig.link()]))
    blind.restart()
    blind.spin_until(lambda: broadcaster.get_subscription_count(), rig.shot())
    found = blind.segment("things", shot=rig.shot())
    assert (found.segments.status.code, found.segments.status.message) == (Status.OK, wanted.segments.status.message)
    for item, other in zip(found.objects.objects, wanted.objects.objects, strict=True):
        here, there = ([p.x, p.y, p.z] for p in (item.pose.position, other.pose.position))
        np.testing.assert_allclose(here, there, atol=0.003)
    values = blind.diagnostics(lambda report: "last register ms" in report, rig.shot())
    assert values["depth"] == f"registered from {DEPTH_FRAME} to {COLOR_FRAME}"
    blind.node.destroy_publisher(broadcaster)


def test_depth_of_another_camera_without_transform_leaves_the_masks(blind: Robot, scene: Scene) -> None:
    shot = two_cameras(3, ["box", "ball"]).shot(depth_frame_id="lost")
    segments, objects, _ = blind.answer_set("the box", shot)
    assert segments.status.code == Status.NO_DEPTH and segments.segments and not objects.objects
    for words in (f"no transform {COLOR_FRAME} <- lost", "static_transform_publisher", "depth_registration"):
        assert words in segments.status.message
    assert blind.diagnostics(lambda report: report["depth"] == "left out", shot)


def test_depth_of_an_unknown_camera_is_used_with_a_warning_until_declared(blind: Robot, scene: Scene) -> None:
    shot = scene.shot(depth_frame_id="unknown")
    segments, objects, _ = blind.answer_set("the box", shot)
    assert segments.status.code == Status.OK and objects.objects
    assert "'unknown'" in segments.status.message and "depth_registration to never" in segments.status.message
    assert blind.set_parameter("depth_registration", "never")[0]
    segments, objects, _ = blind.answer_set("the box", shot)
    assert (segments.status.code, segments.status.message) == (Status.OK, "") and objects.objects
    assert blind.diagnostics(lambda report: report["depth"] == "as published", shot)
    assert blind.set_parameter("depth_registration", "auto")[0]


def test_lifecycle_round_trip(robot: Robot, scene: Scene) -> None:
    steps = [
        (Transition.TRANSITION_DEACTIVATE, "inactive"), (Transition.TRANSITION_CLEANUP, "unconfigured"),
        (Transition.TRANSITION_CONFIGURE, "inactive"), (Transition.TRANSITION_ACTIVATE, "active"),
    ]
    for transition, state in steps:
        assert robot.change_state(transition) and robot.state() == state
        if state != "active":
            status = robot.segment("the box").segments.status
            assert status.code == Status.BUSY and "not active" in status.message
    robot.spin_until(robot.connected)
    assert robot.segment("the box", shot=scene.shot()).segments.status.code == Status.OK


def test_diagnostics_name_the_silent_topic_and_then_are_well(blind: Robot, scene: Scene) -> None:
    reports: list[DiagnosticStatus] = []
    heard = blind.node.create_subscription(DiagnosticArray, "/diagnostics", lambda m: reports.extend(m.status), 10)
    blind.spin_until(lambda: any(r.level == DiagnosticStatus.WARN and "no image on /image" in r.message for r in reports))
    blind.spin_until(lambda: any(r.level == DiagnosticStatus.OK for r in reports), scene.shot())
    assert {"images", "pairs", "dropped"} <= {value.key for value in reports[-1].values}
    blind.node.destroy_subscription(heard)


def test_parameters_carry_description_and_range(robot: Robot) -> None:
    described = robot.describe("sync_tolerance_s")
    assert described.description and described.floating_point_range[0].to_value == 10.0
    assert "on_instruction, continuous" in robot.describe("mode").additional_constraints
    assert robot.describe("segmentation.checkpoint").read_only
    assert robot.set_parameter("lifting.voxel_m", 0.005)[0] and robot.parameter("lifting.voxel_m") == 0.005


def test_changed_settings_hold_from_the_next_instruction_on(robot: Robot, scene: Scene) -> None:
    assert len(robot.segment("things", shot=scene.shot()).segments.segments) == 2
    assert robot.set_parameter("segmentation.max_instances", 1)[0] and robot.set_parameter("grasping.max_grasps", 1)[0]
    response = robot.segment("things", shot=scene.shot())
    assert len(response.segments.segments) == len(response.grasp_targets.targets) == 1
    assert robot.set_parameter("segmentation.max_instances", 20)[0]


def test_interrupt_ends_it_with_exit_code_0(scene: Scene, tmp_path: Path) -> None:
    """In the unconfigured state, and active with a request in flight."""
    settings = {"segmentation.segmenter": "replay", "segmentation.checkpoint": scene.answers, "frame_timeout_s": 60.0}
    processes = {
        state: NodeProcess(f"ends_{state}", tmp_path / state, settings | {"autostart": state == "active"})
        for state in ("unconfigured", "active")
    }
    robots = {state: Robot(process.name) for state, process in processes.items()}
    try:
        for state, other in robots.items():
            assert other.state() == state
        waiting = robots["active"].begin(Segment, "segment", Segment.Request(instruction="the box"))
        robots["active"].spin_until(lambda: True)
        time.sleep(0.5)
        for process in processes.values():
            process.interrupt()
        for process in processes.values():
            assert process.exit_code() == 0 and "Traceback" not in process.log, process.log
        assert not waiting.done()
    finally:
        for other in robots.values():
            other.close()
        for process in processes.values():
            process.stop()
