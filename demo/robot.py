"""The three processes of the demo: the real node, the player of the bag, and the client in this one."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
START_S, ANSWER_S = 120.0, 60.0


class DemoError(Exception):
    """Something did not start or did not answer."""


def private_network() -> None:
    """Loopback only, on a DDS domain that a robot on this machine hardly uses. Before rclpy is initialised."""
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    os.environ["ROS_DOMAIN_ID"] = str(62 + os.getpid() % 39)


class NodeProcess:
    """scripts/segmentation_node, listening to the bag's topics; everything it says goes to `log_file`."""

    def __init__(self, parameters: dict[str, Any], log_file: Path) -> None:
        from qwen_seg_ros.offline.bags.topics import Topics

        topics = Topics()
        arguments = ["--ros-args"]
        for name, topic in {"image": topics.colour, "depth": topics.depth, "camera_info": topics.info}.items():
            arguments += ["-r", f"{name}:={topic}"]
        for name, value in parameters.items():
            arguments += ["-p", f"{name}:={value}"]
        self.log_file = log_file
        with log_file.open("wb") as out:
            command = [sys.executable, str(ROOT / "scripts" / "segmentation_node"), *arguments]
            self.process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)

    def tail(self) -> str:
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-15:])

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class PlayerProcess:
    """demo/player.py; `show` waits until the scene's first frame is out and gives its stamp."""

    def __init__(self, bag: Path) -> None:
        command = [sys.executable, str(ROOT / "demo" / "player.py"), str(bag)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def show(self, scene: int) -> int:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{scene}\n")
        answer = self.process.stdout.readline().split()
        if len(answer) != 3:
            raise DemoError(f"the player ended (exit code {self.process.poll()}); what it said is above")
        return int(answer[2])

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Client:
    """Asks the node by its service."""

    def __init__(self, node_process: NodeProcess) -> None:
        import rclpy

        from qwen_seg_ros.srv import Segment

        rclpy.init()
        self.rclpy, self.kind, self.node_process = rclpy, Segment, node_process
        self.node = rclpy.create_node("demo_client")
        self.service = self.node.create_client(Segment, "/segmentation_node/segment")

    def wait_for_node(self) -> None:
        ends = time.monotonic() + START_S
        while not self.service.wait_for_service(timeout_sec=0.5):
            if self.node_process.process.poll() is not None:
                code = self.node_process.process.returncode
                raise DemoError(f"the node ended with exit code {code}; its last words:\n{self.node_process.tail()}")
            if time.monotonic() > ends:
                raise DemoError(f"the node did not come up in {START_S:.0f} s; its last words:\n{self.node_process.tail()}")

    def ask(self, instruction: str, since_ns: int, plan_grasps: bool = True, patience_s: float = ANSWER_S) -> tuple[Any, float]:
        """-> (Segment.Response on an image not older than `since_ns`, milliseconds of the call)."""
        from qwen_seg_ros.msg import Status

        ends = time.monotonic() + patience_s
        while True:
            start = time.perf_counter()
            future = self.service.call_async(self.kind.Request(instruction=instruction, plan_grasps=plan_grasps))
            self.rclpy.spin_until_future_complete(self.node, future, timeout_sec=max(0.1, ends - time.monotonic()))
            spent_ms = 1e3 * (time.perf_counter() - start)
            if not future.done():
                raise DemoError(
                    f"no answer to {instruction!r} in {patience_s:.0f} s; the node's last words:\n{self.node_process.tail()}"
                )
            response = future.result()
            head, code = response.segments.header, response.segments.status.code
            fresh = head.stamp.sec * 10**9 + head.stamp.nanosec >= since_ns
            waiting = code in (Status.NO_FRAME, Status.BUSY) or (bool(head.frame_id) and not fresh)
            if not waiting or time.monotonic() > ends:
                return response, spent_ms
            if code == Status.BUSY:
                raise DemoError(
                    f"the node refuses: {response.segments.status.message}; its last words:\n{self.node_process.tail()}"
                )
            time.sleep(0.05)

    def close(self) -> None:
        self.node.destroy_node()
        self.rclpy.try_shutdown()
