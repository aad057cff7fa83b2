"""The storm: the script's lanes, each a thread that does one fault after the other until it is called off."""

import threading
from collections.abc import Callable
from typing import Self

from chaos import script
from chaos.faults import FAULTS, Scene
from chaos.journal import Journal
from chaos.world import World

ENDED = "ended by itself"


class Storm:
    """
    Faults of one seed, from entering the block to leaving it; leaving undoes what lasts.

    :param told: called with a sentence for each fault
    """

    def __init__(self, world: World, seed: int, journal: Journal, told: Callable[[str], None]) -> None:
        self.world, self.journal, self.told = world, journal, told
        self.calm = threading.Event()
        self.broken: list[Exception] = []
        self._scene = Scene(world, journal, self.calm)
        self._lanes = [
            threading.Thread(target=self._lane, args=(lane, seed), name=f"storm {lane}", daemon=True)
            for lane in script.DECKS
        ]

    def __enter__(self) -> Self:
        for lane in self._lanes:
            lane.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.calm.set()
        for lane in self._lanes:
            lane.join()

    def check(self) -> None:
        """Raise what kept a lane from going on: a server that did not come back, a fault that could not be done."""
        for error in self.broken:
            raise error

    def _lane(self, name: str, seed: int) -> None:
        """Do one fault after the other; the lane of the processes also starts again what has ended by itself."""
        try:
            for fault in script.faults(seed, name):
                if self.calm.wait(fault.pause):
                    return
                self.told(f"{fault.kind} {fault.target}")
                with self.journal.event(fault.kind, fault.target):
                    FAULTS[fault.kind](self._scene, fault)
                if name == "processes":
                    self._revive()
        except Exception as error:  # noqa: BLE001 - raised again in the thread that waits for the runs
            self.broken.append(error)

    def _revive(self) -> None:
        """Start programs that have ended without having been asked to, as a platform does."""
        programs = self.world.programs
        for name in programs.all:
            if not programs.running(name):
                self.told(f"{name} {ENDED}")
                self.journal.ended_by_themselves[name] += 1
                programs.start([name])
