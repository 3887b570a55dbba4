"""One function over many files, in several processes, in the order of the files.

What a file does to its reader must not end the run. An error is the file's own and comes back as
one; a decoder that takes its whole process down (a crash, memory that the system refuses) is found
by reading the files that were in flight once more, one by one. Processes rather than threads:
of decoding, resampling and compressing a radiograph too much holds the interpreter's lock.
"""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, final

from cxrcausal.errors import CxrCausalError, OptionError

__all__ = ["Refused", "count_workers", "over_files"]

CHUNK = 8
"""Files handed over at once: enough that handing over costs nothing beside decoding."""

Task = TypeVar("Task")
Result = TypeVar("Result")


@final
@dataclass(frozen=True)
class Refused:
    """A file that gave no result.

    Arguments:
        reason: Why, in one sentence.
    """

    reason: str


def count_workers(workers: int | None) -> int:
    """Returns how many processes to use: those asked for, or one per core that is ours.

    Raises:
        OptionError: If it is no whole number from 1.
    """
    if workers is None:
        if hasattr(os, "sched_getaffinity"):
            return len(os.sched_getaffinity(0))  # a container's share, not the machine's cores
        return os.cpu_count() or 1
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise OptionError(f"workers is {workers!r}; give a whole number from 1")
    return workers


def over_files(
    function: Callable[[Task], Result], tasks: Sequence[Task], workers: int
) -> Iterator[Result | Refused]:
    """Yields what `function` returns for each task, in the tasks' order.

    Arguments:
        function: A function of a module, which a new process can find by its name. The errors of
            `cxrcausal.errors` that it raises are its answer about one file; others are defects
            of it, and are raised here.
        tasks: Its arguments.
        workers: How many processes; 1 works in this one, where a decoder that crashes is not
            survived.

    Raises:
        OptionError: If new processes cannot start here.
    """
    if workers == 1:
        for task in tasks:
            yield _one(function, task)
        return
    crew = _Crew(function, workers)
    try:
        yield from crew.work([tasks[i : i + CHUNK] for i in range(0, len(tasks), CHUNK)])
    finally:
        crew.stop()


class _Crew(Generic[Task, Result]):
    """Processes that are replaced when a file took one of them down."""

    def __init__(self, function: Callable[[Task], Result], workers: int) -> None:
        self.function = function
        self.workers = workers
        self.pool = self._start(workers)

    def work(self, chunks: Sequence[Sequence[Task]]) -> Iterator[Result | Refused]:
        """Yields the answers, chunk after chunk, with few of them in flight at a time."""
        waiting = deque(chunks)
        flying: deque[tuple[Sequence[Task], Future[Any]]] = deque()
        while waiting or flying:
            while waiting and len(flying) < 4 * self.workers:
                chunk = waiting.popleft()
                try:
                    flying.append((chunk, self.pool.submit(_chunk, self.function, chunk)))
                except BrokenProcessPool:  # noticed below, at the chunk that is first in order
                    waiting.appendleft(chunk)
                    break
            chunk, future = flying.popleft()
            try:
                answers = future.result()
            except BrokenProcessPool:
                waiting.extendleft(reversed([later for later, _ in flying]))
                flying.clear()
                answers = self._one_by_one(chunk)
                self.stop()
                self.pool = self._start(self.workers)
            yield from answers

    def _one_by_one(self, chunk: Sequence[Task]) -> list[Result | Refused]:
        """Returns the answers of files of which one may end the process that reads it."""
        answers: list[Result | Refused] = []
        pool = self._start(1)
        for task in chunk:
            try:
                answers.append(pool.submit(_one, self.function, task).result())
            except BrokenProcessPool:
                reason = "reading it ended the process: a defect of its decoder, or no memory"
                answers.append(Refused(reason))
                pool = self._start(1)
        pool.shutdown()
        return answers

    @staticmethod
    def _start(workers: int) -> ProcessPoolExecutor:
        """Returns processes that are ready, so that one lost later was lost to a file."""
        # Torch's threads do not survive a fork of this process; a server of forks has none, and
        # imports but once
        methods = multiprocessing.get_all_start_methods()
        context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
        context.set_forkserver_preload([__name__])
        pool = ProcessPoolExecutor(workers, context, initializer=_live_and_die_with_parent)
        try:
            pool.submit(os.getpid).result()
        except BrokenProcessPool as error:
            raise OptionError(
                "new processes cannot start here; in a script, call this below "
                "`if __name__ == '__main__':`, or pass workers=1"
            ) from error
        return pool

    def stop(self) -> None:
        """Ends the processes; what they were at is dropped."""
        self.pool.shutdown(cancel_futures=True)


def _chunk(function: Callable[[Task], Result], chunk: Sequence[Task]) -> list[Result | Refused]:
    return [_one(function, task) for task in chunk]


def _one(function: Callable[[Task], Result], task: Task) -> Result | Refused:
    try:
        return function(task)
    except CxrCausalError as error:
        return Refused(str(error))
    except MemoryError:
        return Refused("it does not fit into memory")


def _live_and_die_with_parent() -> None:
    """Leaves Ctrl-C to the parent, and ends when the parent was killed: it would wait forever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()
