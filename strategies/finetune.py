"""Finetune: DeviceRec's network, trained further on each device with the device's own history."""

from typing import ClassVar

from clients.local_training import planned_macs
from strategies.devicerec import DeviceRec
from strategies.expectation import Counts
from strategies.wave import DeviceSession


class Finetune(DeviceRec):
    """Before each session the device takes a few Adam steps from the installed network; nothing is asked of the cloud.

    The steps are the device's business, see :mod:`clients.local_training`.
    """

    name: ClassVar[str] = "finetune"
    title: ClassVar[str] = "Finetune"
    note: ClassVar[str] = "DeviceRec's network, trained further by each device on its own history"
    evaluate_action: ClassVar[str] = "evaluate.finetune"
    single: ClassVar[str] = "its devices train"
    load: ClassVar[int] = 10
    adapts: ClassVar[bool] = True

    def adapting_macs(self, device_session: DeviceSession) -> tuple[Counts, ...]:
        """Training all blocks, or nothing."""
        part = self.networks_for(device_session).installed.part
        most = planned_macs(part, device_session.past, part.backbone.blocks)
        return (range(most + 1),) if device_session.repeats else ((0, most),)
