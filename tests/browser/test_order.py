"""The chapters, in one order wherever a user meets them: the menu, the node library, the template browser."""

import ast
import re

import pytest

from specimens import CHAPTERS

from ..http.server import PACK, ROOT
from .files import FOLDER
from .frontend import FrontEnd
from .recipes import RECIPES

PATIENCE = 10_000


def words(chapter: str) -> str:
    """What the menu calls a chapter."""
    tree = ast.parse((ROOT / "nodes" / chapter / "__init__.py").read_text(encoding="utf-8"))
    (category,) = [ast.literal_eval(part.value) for part in tree.body if isinstance(part, ast.Assign)]
    return category.rpartition("/")[2]


CALLED = [words(chapter) for chapter in CHAPTERS]


@pytest.fixture
def plain(frontend: FrontEnd):
    """The page with nothing open but the graph, before and after."""
    yield frontend
    frontend.page.keyboard.press("Escape")
    frontend.run("() => app.extensionManager.sidebarTab.activeSidebarTabId = null")
    frontend.run("() => document.querySelectorAll('.litecontextmenu').forEach(menu => menu.remove())")


def test_the_menu_has_the_chapters_in_order(plain: FrontEnd) -> None:
    """It sorts by name, whatever the pack says."""
    page = plain.page
    page.mouse.click(1000, 700, button="right")
    for entry in ("Add Node", "advanced", "guidance", "Azimuth"):
        of_that_name = page.locator(".litecontextmenu").last.locator(".litemenu-entry", has_text=whole(entry))
        of_that_name.click(timeout=PATIENCE)
    page.locator(".litemenu-entry", has_text=whole(CALLED[0])).wait_for(timeout=PATIENCE)
    assert page.locator(".litecontextmenu").last.locator(".litemenu-entry").all_inner_texts() == CALLED


def test_the_node_library_has_the_chapters_in_order(plain: FrontEnd) -> None:
    """It keeps the order in which the pack lists its nodes, or sorts by name if the user chooses so."""
    page = plain.page
    plain.run("() => app.extensionManager.command.execute('Workspace.ToggleSidebarTab.node-library')")
    for folder in ("advanced", "guidance", "Azimuth"):
        page.locator("[role=treeitem]", has_text=whole(folder)).last.click(timeout=PATIENCE)
    page.locator("[role=treeitem]", has_text=whole(CALLED[0])).wait_for(timeout=PATIENCE)
    shown = page.locator("[role=treeitem]").all_inner_texts()
    assert [text for text in shown if text in CALLED] == CALLED


def test_the_template_browser_has_the_workflows_in_the_order_of_the_chapters(plain: FrontEnd) -> None:
    """Sorted by name; its own order is that in which the disk lists the files."""
    page = plain.page
    plain.run("() => app.extensionManager.setting.set('Comfy.Templates.SortBy', 'alphabetical')")
    plain.run("() => app.extensionManager.command.execute('Comfy.BrowseTemplates')")
    page.get_by_text(PACK).first.click(timeout=PATIENCE)
    cards = page.locator("[data-testid^='template-workflow-']")
    page.locator(f"[data-testid='template-workflow-{next(iter(RECIPES))}']").wait_for(timeout=PATIENCE)
    while (there := cards.count()) < len(RECIPES):
        cards.last.scroll_into_view_if_needed()
        page.wait_for_function(f"() => document.querySelectorAll('{CARDS}').length > {there}", timeout=PATIENCE)
    titles = cards.locator("h3").all_inner_texts()
    assert sorted(titles) == sorted(path.stem for path in FOLDER.glob("*.json"))
    numbered = [int(found[0]) for title in titles if (found := re.match(r"\d+", title))]
    assert numbered == sorted(numbered) and set(numbered) == set(range(1, len(CHAPTERS) + 1))
    assert not any(title[0].isdigit() for title in titles[len(numbered) :])


CARDS = "[data-testid^=template-workflow-] h3"


def whole(text: str) -> re.Pattern:
    return re.compile(rf"^\s*{re.escape(text)}\s*$")
