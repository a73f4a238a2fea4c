"""Numbers typed with the keyboard, as the front-end keeps them."""

import pytest

from .frontend import FrontEnd

TYPED = [  # node, an option of its dynamic input, and what is typed into which input
    ("AzimuthScheduledCFG", None, {"scale": 7.25, "end": 0.85}),
    ("AzimuthSchedule", ("shape", "sigma interval"), {"shape.sigma_low": 0.28, "shape.sigma_high": 5.42}),
    ("AzimuthSkipLayer", ("preset", "S2: any model"), {"preset.scale": 0.25}),
    ("AzimuthSelfAttention", None, {"scale": 0.75}),
    ("AzimuthNAG", ("preset", "custom"), {"preset.alpha": 0.125}),
    ("AzimuthDynamicNegative", None, {"prior": 0.001, "tau": 0.05}),
    ("AzimuthAdaptiveGuidance", None, {"threshold": 0.991}),
    ("AzimuthAngleDomain", None, {"max_angle": 22.5}),
]


@pytest.mark.parametrize(("kind", "option", "numbers"), TYPED, ids=[row[0] for row in TYPED])
def test_a_number_is_kept_as_it_is_typed(frontend: FrontEnd, kind: str, option: tuple | None, numbers: dict) -> None:
    node = frontend.add(kind, 500, 200)
    if option:
        frontend.choose(node, *option)
    for name, number in numbers.items():
        frontend.type_number(node, name, "0.5")  # it may be what stands there already
        frontend.type_number(node, name, f"{number:.6f}")
        assert frontend.widgets(node)[name] == number
    assert frontend.prompt()[str(node)]["inputs"].items() >= numbers.items()
