"""The methods there are. A new one is a file in this folder and a line here."""

from typing import TYPE_CHECKING

from core.registry import Registry

if TYPE_CHECKING:
    from strategies.base import SessionStrategy

METHODS: "Registry[type[SessionStrategy]]" = Registry(
    {
        "popular": "strategies.references:PopularMethod",
        "recent-popular": "strategies.references:RecentPopularMethod",
        "cooccurrence": "strategies.references:CooccurrenceMethod",
        "cooccurrence-by-type": "strategies.references:CooccurrenceByTypeMethod",
        "own-recent": "strategies.references:OwnRecentMethod",
        "own-frequent": "strategies.references:OwnFrequentMethod",
        "devicerec": "strategies.devicerec:DeviceRec",
        "finetune": "strategies.finetune:Finetune",
        "duet": "strategies.duet:Duet",
        "sttd": "strategies.sttd:STTD",
        "rare-gem": "strategies.rare_gem:RareGem",
        "gater": "strategies.gater:Gater",
        "litepred": "strategies.litepred:LitePred",
        "diet": "strategies.diet:Diet",
        "chord": "strategies.chord:Chord",
        "forward-ofa": "strategies.forward_ofa:ForwardOFA",
        "forward-ofa-controller": "strategies.ablations:ControllerOnly",
        "forward-ofa-no-structure": "strategies.ablations:NoStructure",
        "forward-ofa-random": "strategies.ablations:RandomForwardOFA",
        "forward-ofa-first": "strategies.ablations:FirstForwardOFA",
        "forward-ofa-last": "strategies.ablations:LastForwardOFA",
        "duet-plus": "strategies.forward_ofa_plus:DuetPlus",
        "duet-plus-warm": "strategies.ablations:WarmDuetPlus",
        "duet-warm": "strategies.ablations:WarmDuet",
        "duet-plus-no-dropout": "strategies.ablations:NoDropoutDuetPlus",
        "duet-plus-no-kinds": "strategies.ablations:NoKindsDuetPlus",
        "duet-plus-shared": "strategies.ablations:SharedDuetPlus",
        "forward-ofa-plus": "strategies.forward_ofa_plus:ForwardOFAPlus",
        "forward-ofa-plus-random": "strategies.ablations:RandomForwardOFAPlus",
        "forward-ofa-plus-first": "strategies.ablations:FirstForwardOFAPlus",
        "forward-ofa-plus-last": "strategies.ablations:LastForwardOFAPlus",
    }
)
"""The methods by their name on the command line, in the order of the paper's tables; imported when they are used."""
