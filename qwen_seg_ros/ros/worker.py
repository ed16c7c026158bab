"""The one thread that works with the model, for all cameras in turn; every request gets exactly one answer.

A camera whose turn it is has one request answered, or one frame in continuous mode, and then goes to the end of the line: none
waits for another's images, and none starves. Nothing that arrives from outside ends the thread.
"""

import threading
import time
from collections.abc import Callable, Iterable

from qwen_seg_ros.pipeline import Pipeline
from qwen_seg_ros.ros.answering import Answering, Log
from qwen_seg_ros.ros.camera import Camera, Station
from qwen_seg_ros.ros.depth_reader import DepthReader
from qwen_seg_ros.ros.messages_out import printable
from qwen_seg_ros.ros.parameters import Parameters
from qwen_seg_ros.ros.requests import Answer, Request
from qwen_seg_ros.ros.transforms import TransformSource
from qwen_seg_ros.status import Status, StatusCode

_POLL_S = 0.1  # how often an idle worker looks: time-outs, the grace time for depth and changed settings bring no news


class Worker:
    """`deliver` gets every request with its answer, exactly once; mostly on the worker's thread."""

    def __init__(
        self, pipeline: Pipeline, parameters: Parameters, cameras: Iterable[Camera], transforms: Callable[[], TransformSource],
        deliver: Callable[[Request, Answer], None], now_ns: Callable[[], int], log: Log,
    ) -> None:
        self.enabled = True
        self.stations = {camera.name: Station(camera, DepthReader(transforms)) for camera in cameras}
        self._line = list(self.stations.values())  # the first is served first
        self._parameters, self._deliver, self._log = parameters, deliver, log
        self._stopping, self._news = threading.Event(), threading.Event()
        self._answering = Answering(pipeline, parameters, transforms, now_ns, self._stopping.is_set, log)
        self.restarts, self.ended_by = 0, ""  # of the thread, and what ended the last one
        self._model, self._model_wanted = self._answering.model(), False
        self._at: Request | None = None  # what the thread is working on
        self._thread = self._new_thread()

    def _new_thread(self) -> threading.Thread:
        return threading.Thread(target=self._run, name="worker", daemon=True)

    def start(self) -> None:
        for station in self._line:
            station.camera.frames.on_news = self._on_frame
        self._thread.start()

    def model(self) -> dict[str, str]:
        """What answers, for diagnostics; as of the last call. Only the worker asks the device: whoever does may hang with it."""
        self._model_wanted = True
        return self._model

    def alive(self) -> bool:
        return self._thread.is_alive()

    def stop(self, timeout_s: float = 10.0) -> bool:
        """Refuse what waits, cancel what runs; False when the thread did not end in time."""
        self._stopping.set()
        self._news.set()
        if self._thread.is_alive() and not self.trouble():
            self._thread.join(timeout_s)
        for request in self._unanswered():
            self.end(request, Status(StatusCode.BUSY, "the node was deactivated before this instruction was answered"))
        return not self._thread.is_alive()

    def _on_frame(self) -> None:
        """From the executor's thread, for every message of a camera: idle, the worker is not woken by images nobody asked for."""
        if any(station.wants_images() for station in self.stations.values()):
            self._news.set()

    def submit(self, request: Request) -> None:
        """From the executor's thread: queue the request, or answer BUSY at once."""
        limit = self._parameters.node_settings.queue_size
        if self._stopping.is_set() or not self.enabled:
            reason = "the node is switched off; call ~/enable with data: true"
        elif trouble := self.trouble():
            reason = trouble
        elif self._station(request).queue.put(request, limit):
            self._news.set()
            return
        else:
            reason = f"{limit} instructions wait already; send this one again later or raise queue_size"
        self.end(request, Status(StatusCode.BUSY, reason))

    def end(self, request: Request, status: Status) -> None:
        """From any thread: answer a request now, with this. Work on it stops at its next step."""
        request.given_up = status
        self._station(request).queue.remove(request)
        self._finish(request, self._answering.refusal(request, status))

    def trouble(self) -> str:
        """Where the thread hangs and since when; "" = it does not."""
        request = self._hanging()
        if request is None:
            return ""
        stage, since_s = request.stage
        what = f"the worker has been in the stage {stage!r} for {time.monotonic() - since_s:.0f} s and does not come back"
        why = f"a driver or a device hangs, or deadline_s = {request.deadline_s:g} s is too short for it"
        return f"{what}: {why}; restart the node if it stays so"

    def watch(self) -> None:
        """From the executor's thread, about once a second: answer what is late or waits in vain, replace a thread that ended."""
        if self._stopping.is_set():
            return
        if not self._thread.is_alive():
            self._replace_thread()
        for request in self._unanswered():
            if late := request.lateness():
                self.end(request, late)
        if trouble := self.trouble():
            for request in self._unanswered():
                self.end(request, Status(StatusCode.BUSY, trouble))

    def _hanging(self) -> Request | None:
        """The request on which the thread has been far beyond its deadline."""
        request, after_s = self._at, self._parameters.node_settings.stuck_after_s
        if request is None or not after_s or not request.deadline_s or request.age_s() < request.deadline_s + after_s:
            return None
        return request

    def _replace_thread(self) -> None:
        """What it was working on is not tried again: it may have been what ended it."""
        self.restarts += 1
        reason = f"the worker ended ({self.ended_by}) and was started again"
        self._log.error(reason)
        request, self._at = self._at, None
        self._thread = self._new_thread()
        self._thread.start()
        if request is not None:
            self.end(request, Status(StatusCode.INTERNAL_ERROR, f"{reason}; its log has more"))

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._news.clear()
                if self._model_wanted:
                    self._model, self._model_wanted = self._answering.model(), False
                if not self._serve_next():
                    self._news.wait(_POLL_S)
        except BaseException as error:  # SystemExit of a library, for example: `watch` tells and mends it
            self.ended_by = f"{type(error).__name__}: {error}"

    def _serve_next(self) -> bool:
        """False when no camera has anything to do."""
        for station in list(self._line):
            if self._serve(station):
                self._line.remove(station)
                self._line.append(station)
                return True
        return False

    def _serve(self, station: Station) -> bool:
        """A request that waits comes before a new frame. False = there is nothing to do, or no image to do it on."""
        request = station.turn()
        if request is None:
            return self.enabled and self._follow(station)
        self._at = request
        answer = self._answering.on_newest(station, request)
        if answer is not None:
            station.current = None
            request.enter("publish")
            self._finish(request, answer)
        self._at = None
        return answer is not None

    def _follow(self, station: Station) -> bool:
        """Continuous mode: one answer for a frame that was not answered on yet."""
        standing = station.standing if station.follows() else None
        view = station.camera.frames.take(new=True) if standing is not None else None
        if view is None or standing is None:
            return False
        self._at = request = standing.once_more()
        answer = self._answering.on_view(station, request, view)
        request.enter("publish")
        self._finish(request, answer)
        self._at = None
        return True

    def _finish(self, request: Request, answer: Answer) -> None:
        """What continuous mode repeats is logged only when it changes; an answer that comes second is dropped."""
        if not request.claim():
            self._log.debug(f"{printable(request.instruction, 80)!r} was answered already; dropped: {answer.code.name}")
            return
        station = self._station(request)
        station.answered[answer.code] += 1
        if answer.result is not None:
            station.latency.add(request.age_s())
        known, station.last_code = request.repeated and answer.code == station.last_code, answer.code
        if answer.code not in (StatusCode.OK, StatusCode.NOT_FOUND) and not known:
            self._log.warning(f"{printable(answer.instruction, 80)!r}: {answer.code.name}: {answer.message}")
        try:
            self._deliver(request, answer)
        except Exception as error:
            self._log.error(f"an answer could not be sent: {type(error).__name__}: {error}")

    def _station(self, request: Request) -> Station:
        return self.stations[request.camera]

    def _unanswered(self) -> list[Request]:
        """What is worked on and all that waits."""
        waiting = [request for station in self.stations.values() for request in station.unanswered()]
        return [request for request in [self._at, *waiting] if request is not None and not request.answered()]
