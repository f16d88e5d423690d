"""How far Spark is with what one thread asks of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from pyspark.sql import SparkSession


@dataclass(slots=True)
class Work:
    """The tasks of the jobs that a thread starts, as a group of their own.

    Adaptive execution plans a stage when those before it are done, so how many tasks there will
    be is foreseen by whoever asks for them.
    """

    spark: SparkSession
    group: str
    _foreseen: int = 0
    # Finished tasks and all tasks of every stage that has begun: Spark forgets stages in time.
    _stages: dict[int, tuple[int, int]] = field(default_factory=dict)
    _share: float = 0.0

    def begin(self) -> None:
        """Let all jobs of this thread from now on be of the group."""
        self.spark.sparkContext.setJobGroup(self.group, self.group)

    @property
    def tasks(self) -> int:
        """The tasks of all stages that have begun."""
        self._look()
        return sum(tasks for _, tasks in self._stages.values())

    def foresee(self, tasks: int) -> None:
        """There will be so many tasks in all, give or take some; before, the share is 0."""
        self._foreseen = tasks

    @property
    def share(self) -> float:
        """The finished part of the tasks, from 0 to 1; it never falls."""
        expected = max(self.tasks, self._foreseen)
        if self._foreseen:
            finished = sum(finished for finished, _ in self._stages.values())
            self._share = max(self._share, finished / expected)
        return self._share

    def _look(self) -> None:
        tracker = self.spark.sparkContext.statusTracker()
        for job in tracker.getJobIdsForGroup(self.group):
            info = tracker.getJobInfo(job)
            for id_ in info.stageIds if info is not None else ():
                stage = tracker.getStageInfo(id_)
                # A stage whose output an earlier job has left is named again, and never begins.
                if stage is not None and stage.numActiveTasks + stage.numCompletedTasks:
                    self._stages[id_] = (stage.numCompletedTasks, stage.numTasks)
