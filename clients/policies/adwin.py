"""Ask when ADWIN finds that the device's own losses have risen (Bifet and Gavaldà, SDM 2007; from river)."""

from river.drift import ADWIN

from clients.policies.base import Observation, Policy


class Adwin(Policy):
    """The parameter is ADWIN's delta, its confidence: larger is more easily alarmed.

    Losses since the last adaptation are looked at one by one (``clock=1``): a device has tens of them, not thousands.
    """

    name = "adwin"
    default = 0.05
    bounds = (1e-9, 1.0 - 1e-9)
    rising = True
    needs = frozenset({"losses"})

    def asks(self, now: Observation) -> bool:
        detector = ADWIN(delta=self.parameter, clock=1, min_window_length=5, grace_period=10)
        for loss in now.losses.tolist():
            before = detector.estimation
            detector.update(loss)
            if detector.drift_detected and detector.estimation > before:
                return True
        return False
