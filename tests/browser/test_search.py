"""What users type into the node search of the front-end, and the node that they should see first.

The front-end looks through ids, names and `search_aliases`, and takes exact names before the aliases. Among aliases
those that are wholly what was typed come first, and of these the ones of the node with the shortest id or name.
"""

import re

import pytest

from ..http.object_info import ours
from ..http.server import Server
from .frontend import FrontEnd

# The wishes of README.md ("I want ..."), and what ails a picture in the words of users.
FIRST = {
    "AzimuthRescaleCFG": (
        ["burnt", "burned", "fried", "deep fried", "too bright", "overexposed", "rescale cfg"],
        "README: colours that do not burn",
    ),
    "AzimuthAPG": (["oversaturation", "high cfg"], "README: the same, closer to the prompt"),
    "AzimuthAngleDomain": (["follow the prompt", "prompt adherence"], "README: a prompt that is followed"),
    "AzimuthCADS": (["more variety", "variety", "diversity"], "README: more variety"),
    "AzimuthAdaptiveGuidance": (["more speed", "faster"], "README: more speed"),
    "AzimuthNegativeGuidance": (["milder negative"], "README: a milder negative"),
    "AzimuthNAG": (["flux negative", "negative at cfg 1"], "README: a negative at cfg 1"),
    "AzimuthFrequency": (["sharper detail", "detail"], "README: sharper detail"),
    "AzimuthPerturbedAttention": (
        ["clearer shapes", "quality", "better sound"],
        "README: clearer shapes, better sound; its paper is on the quality of samples",
    ),
    "AzimuthSkipLayer": (
        ["hands", "better hands", "anatomy", "fingers", "firmer shapes", "steadier video"],
        "README: better hands, firmer shapes, steadier video",
    ),
    "AzimuthEnergyPreserving": (["flicker"], "README: contrast flickers"),
    "AzimuthCFGZeroStar": (["cleaner video"], "README: cleaner video"),
    "AzimuthTAG": (["washed out"], "contrast and colours grow a little stronger, at any weight and on any model"),
    "AzimuthDynamicThresholding": (["automatic cfg"], "docs/not_included.md: what comes nearest to Automatic CFG"),
    "AzimuthNegativePrompt": (["negative prompt"], "a text to begin with; the other negatives follow"),
    "AzimuthScheduledCFG": (["cfg schedule", "dynamic cfg"], "README: thirty seconds of use"),
}

# Here nodes of ComfyUI that many use come first, for what their names or aliases share with the words.
BEHIND_THE_HOSTS = ("detail",)

ONCE = pytest.mark.parametrize("page", ["classic"], indirect=True)  # both renderers have the same search


class Search:
    """The search box, open over the canvas."""

    def __init__(self, frontend: FrontEnd):
        self.frontend = frontend
        frontend.run("() => app.extensionManager.command.execute('Workspace.SearchBox.Toggle')")
        self.box = frontend.page.get_by_role("combobox", name="Add a node...")
        self.box.wait_for()

    def found(self, words: str) -> list[str]:
        """The names of the nodes in the list, from the top."""
        return self.box.evaluate(
            """async (box, words) => {
                box.value = words;
                box.dispatchEvent(new Event("input", {bubbles: true}));
                await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
                const options = [...document.querySelectorAll("#results-list [role=option]")];
                return options.map(option => option.innerText.split("\\n")[0]);
            }""",
            words,
        )


@pytest.fixture
def search(frontend: FrontEnd):
    opened = Search(frontend)
    yield opened
    frontend.page.keyboard.press("Escape")
    opened.box.wait_for(state="hidden")


@pytest.fixture(scope="session")
def names(server: Server) -> dict[str, str]:
    return {kind: info["display_name"] for kind, info in ours(server).items()}


@ONCE
def test_the_words_of_users_find_the_right_node_first(search: Search, names: dict[str, str]) -> None:
    wrong = []
    for kind, (phrases, why) in FIRST.items():
        for words in phrases:
            found = search.found(words)
            found = [name for name in found if name in names.values()] if words in BEHIND_THE_HOSTS else found
            if found[:1] != [names[kind]]:
                wrong.append(f"{words!r} should find {names[kind]} ({why}), but finds {found[:3]}")
    assert not wrong, "\n".join(wrong)


@ONCE
def test_an_abbreviation_finds_its_node_first_of_ours(search: Search, names: dict[str, str]) -> None:
    wrong = []
    for name in names.values():
        for short in re.findall(r"[\w*+-]+", name.partition("(")[2].replace("Azimuth", "")):
            found = [other for other in search.found(short) if other in names.values()]
            wrong += [f"{short} should find {name}, but finds {found[:3]}"] if found[:1] != [name] else []
    assert not wrong, "\n".join(wrong)
