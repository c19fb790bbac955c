"""The methods there are. A new one is a file in this folder and a line here."""

from strategies.base import SessionStrategy
from strategies.devicerec import DeviceRec
from strategies.duet import Duet
from strategies.finetune import Finetune
from strategies.forward_ofa import ForwardOFA

METHODS: dict[str, type[SessionStrategy]] = {method.name: method for method in (DeviceRec, Finetune, Duet, ForwardOFA)}
"""By their name on the command line, in the order of the paper's tables."""
