"""The methods there are. A new one is a file in this folder and a line here."""

from strategies.ablations import ControllerOnly, FirstBlocks, LastBlocks, NoStructure, RandomBlocks
from strategies.base import SessionStrategy
from strategies.devicerec import DeviceRec
from strategies.duet import Duet
from strategies.finetune import Finetune
from strategies.forward_ofa import ForwardOFA
from strategies.forward_ofa_plus import DuetPlus, FirstBlocksPlus, ForwardOFAPlus, LastBlocksPlus, RandomBlocksPlus
from strategies.gater import Gater
from strategies.litepred import LitePred
from strategies.rare_gem import RareGem
from strategies.sttd import STTD

METHODS: dict[str, type[SessionStrategy]] = {
    method.name: method
    for method in (
        DeviceRec,
        Finetune,
        Duet,
        STTD,
        RareGem,
        Gater,
        LitePred,
        ForwardOFA,
        ControllerOnly,
        NoStructure,
        RandomBlocks,
        FirstBlocks,
        LastBlocks,
        DuetPlus,
        ForwardOFAPlus,
        RandomBlocksPlus,
        FirstBlocksPlus,
        LastBlocksPlus,
    )
}
"""By their name on the command line, in the order of the paper's tables."""
