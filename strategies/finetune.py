"""Finetune: DeviceRec's network, trained further on each device with the device's own history."""

from typing import ClassVar

from strategies.devicerec import DeviceRec


class Finetune(DeviceRec):
    """Before each session the device takes a few Adam steps from the installed network; nothing is asked of the cloud.

    The steps are the device's business, see :mod:`clients.local_training`.
    """

    name: ClassVar[str] = "finetune"
    title: ClassVar[str] = "Finetune"
    note: ClassVar[str] = "DeviceRec's network, trained further by each device on its own history"
    evaluate_action: ClassVar[str] = "evaluate.finetune"
    adapts: ClassVar[bool] = True
