"""The documentation against the code: every node, input, paper, link and picture. No host is needed."""

import ast
import importlib
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import pytest

import specimens
from specimens import packages

ROOT = Path(__file__).resolve().parent.parent
NODES = ROOT / "nodes"
HELP = ROOT / "js" / "docs"
README = ROOT / "README.md"
CHANGELOG = ROOT / "CHANGELOG.md"
DOCS = ROOT / "docs"
REFERENCES = DOCS / "references.md"
NOT_INCLUDED = DOCS / "not_included.md"
FROM_PYTHON = DOCS / "from_python.md"
PAGES = [README, CHANGELOG, *sorted(DOCS.glob("**/*.md")), ROOT / "lab" / "README.md", *sorted(HELP.glob("**/*.md"))]

# ---- the schemas, as written ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Node:
    name: str
    id: str
    inputs: dict[str, str]  # id to label, which is the id again where there is none
    options: set[str]

    @property
    def page(self) -> Path:
        return HELP / f"{self.id}.md"


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(tree: ast.Module) -> dict[str, ast.FunctionDef]:
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def text(node: ast.AST | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def keyword(call: ast.Call, name: str) -> ast.AST | None:
    return next((k.value for k in call.keywords if k.arg == name), None)


def inputs_in(code: ast.AST, helpers: dict[str, ast.FunctionDef]) -> dict[str, str]:
    """Id to label of every input that a piece of code makes, with `io.X.Input` or through a helper."""
    found = {}
    for call in (node for node in ast.walk(code) if isinstance(node, ast.Call)):
        helper = helper_of(call, helpers)
        if helper:
            found |= inputs_in(helper, helpers)
        if called(call) == "Input" or helper and names_its_input(helper, helpers):
            name = text(call.args[0]) if call.args else None
            found |= {name: text(keyword(call, "display_name")) or name} if name else {}
    return found


def helper_of(call: ast.Call, helpers: dict[str, ast.FunctionDef]) -> ast.FunctionDef | None:
    """The function of this module, or of inputs.py, that is called."""
    if isinstance(call.func, ast.Attribute):
        module = call.func.value
        return helpers.get(call.func.attr) if isinstance(module, ast.Name) and module.id == "inputs" else None
    return helpers.get(called(call))


def names_its_input(helper: ast.FunctionDef, helpers: dict[str, ast.FunctionDef]) -> bool:
    """Whether a helper's first parameter is the id of the input that it makes, itself or by another helper."""
    first = helper.args.args[0].arg if helper.args.args else None
    return any(
        isinstance(call, ast.Call)
        and call.args
        and isinstance(call.args[0], ast.Name)
        and call.args[0].id == first
        and (called(call) == "Input" or (other := helper_of(call, helpers)) and names_its_input(other, helpers))
        for call in ast.walk(helper)
    )


def constants(tree: ast.Module) -> dict[str, ast.AST]:
    return {
        statement.targets[0].id: statement.value
        for statement in tree.body
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)
    }


def options_in(tree: ast.Module) -> set[str]:
    """What a user can choose: the lists of Combo inputs, and the names of the options of a DynamicCombo."""
    named = constants(tree)
    found = set()
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        choices = keyword(call, "options")
        if isinstance(choices, ast.List):
            found |= {text(element) for element in choices.elts if text(element)}
        elif isinstance(choices, ast.Call) and called(choices) == "list":  # list(MODES)
            found |= keys(named[choices.args[0].id])
        elif isinstance(choices, ast.ListComp):  # [Option(...) for ... in SHAPES]
            source = choices.generators[0].iter
            source = source.func.value if isinstance(source, ast.Call) else source
            found |= keys(named[source.id])
    return found


def keys(value: ast.AST) -> set[str]:
    """The keys of a dictionary, or the first arguments of a tuple of calls."""
    if isinstance(value, ast.Dict):
        return {text(key) for key in value.keys}
    return {text(call.args[0]) for call in value.elts}


def nodes_in(path: Path, shared: dict[str, ast.FunctionDef]) -> list[Node]:
    tree = parse(path)
    named, helpers = constants(tree), shared | functions(tree)
    rest = ast.Module([part for part in tree.body if not isinstance(part, ast.FunctionDef)], [])
    return [
        Node(
            text(keyword(call, "display_name")) or text(named[keyword(call, "display_name").id]),
            text(keyword(call, "node_id")),
            inputs_in(rest, helpers),
            options_in(tree),
        )
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and called(call) == "Schema"
    ]


def all_nodes() -> list[Node]:
    shared = functions(parse(NODES / "engine" / "inputs.py"))
    return [node for path in sorted(NODES.rglob("*.py")) for node in nodes_in(path, shared)]


packages.mathematics()
ALL = all_nodes()
SPECIMENS = {specimen.NODE: specimen for specimen in specimens.specimens() if hasattr(specimen, "NODE")}
every_node = pytest.mark.parametrize("node", ALL, ids=lambda node: node.id)
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def code_spans(markdown: str) -> set[str]:
    return set(re.findall(r"`([^`\n]+)`", markdown))


def headings(page: str) -> list[str]:
    return re.findall(r"^## (.+)$", page, re.MULTILINE)


def section(page: str, heading: str) -> str:
    """What stands under a heading, up to the next one of its kind."""
    return page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def first_paragraph(page: str) -> str:
    """What follows the name, on one line."""
    return " ".join(page.split("\n\n")[1].splitlines())


def code_lines(page: str) -> list[str]:
    """The lines of indented blocks, as they are shown: an indented line after an empty line or another one."""
    found, inside = [], False
    for before, line in zip(["", *page.splitlines()], page.splitlines(), strict=False):
        inside = line.startswith("    ") and (inside or not before)
        found += [line[4:]] if inside else []
    return found


def columns(row: str) -> int:
    return len(re.split(r"(?<!\\)\|", row.strip().strip("|")))


def test_the_schemas_are_found():
    """The checks below would pass for want of nodes, inputs or options."""
    listed = [path for path in NODES.rglob("*.py") if "NODES" in constants(parse(path))]
    assert len(ALL) == len(listed) - 1  # nodes/__init__.py has a list of that name too
    assert all(node.inputs for node in ALL)
    found = {node.id: node for node in ALL}
    assert set(found["AzimuthScheduledCFG"].inputs) == {"model", "scale", "start", "end", "outside"}
    assert {"shape", "inside", "first", "last", "exponent", "weights"} <= set(found["AzimuthSchedule"].inputs)
    assert found["AzimuthCFGPlusPlus"].inputs["lam"] == "lambda"
    assert {"triangle", "per step"} <= found["AzimuthSchedule"].options
    assert found["AzimuthAngleDomain"].options == {"paper", "exact rotation"}


# ---- help pages ----------------------------------------------------------------------------------------


@every_node
def test_help_page_exists_and_begins_with_the_name(node):
    assert read(node.page).splitlines()[0] == f"# {node.name}"


@every_node
def test_help_page_mentions_every_input(node):
    spans = code_spans(section(read(node.page), "Inputs"))
    assert {i for i, label in node.inputs.items() if not {i, label} & spans} == set()


@every_node
def test_help_page_mentions_every_option(node):
    """As code, or as the first cell of a table's row."""
    page = read(node.page)
    spans = code_spans(page) | set(re.findall(r"^\| ([a-z ]+) \|", page, re.MULTILINE))
    assert node.options - spans == set()


def presets_in(path: Path) -> dict[str, list]:
    """The numbers of every preset of a node, by name: a tuple, or the arguments of what makes it."""
    value = constants(parse(path)).get("PRESETS")
    pairs = zip(value.keys, value.values, strict=True) if isinstance(value, ast.Dict) else ()
    found = {text(key): getattr(value, "elts", getattr(value, "args", None)) for key, value in pairs}
    return {name: [ast.literal_eval(part) for part in parts] for name, parts in found.items() if parts}


def tabulated(page: str) -> dict[str, list[str]]:
    """The rows of the table `| preset | numbers |`: its numbers, each with its name, without what is in brackets."""
    rows = re.findall(r"^\| preset \| numbers \|\n\|[-|]+\|\n((?:\|.*\n)+)", page, re.MULTILINE)
    cells = [[cell.strip(" `") for cell in row.strip("|").split("|")] for row in "".join(rows).splitlines()]
    return {name: re.split(r"[,;] ", re.sub(r" \([^)]*\)|`", "", numbers)) for name, numbers in cells}


def is_named(number, shown: str) -> bool:
    """Whether `η 0.5` shows a number, or `skip block` a word: with a name before it."""
    value = str(number) if isinstance(number, str) else f"{number:g}"
    return re.fullmatch(rf"\S.* {re.escape(value)}", shown.replace("−", "-")) is not None


WITH_PRESETS = {path: presets_in(path) for path in sorted(NODES.rglob("*.py")) if presets_in(path)}


def test_the_presets_are_found():
    assert {path.stem for path in WITH_PRESETS} >= {"apg", "nag", "ratio_aware", "safe_latent", "skip_layer"}
    assert WITH_PRESETS[NODES / "rules" / "apg.py"]["SD2.1"] == [0.0, 7.5, -0.75]
    assert WITH_PRESETS[NODES / "terms" / "skip_layer.py"]["STG: Mochi"] == ["34", 1.0, "block", 0.0, 1.0, 0.0]


@pytest.mark.parametrize("path", WITH_PRESETS, ids=lambda path: path.stem)
def test_help_page_has_the_numbers_of_every_preset(path):
    (node,) = nodes_in(path, functions(parse(NODES / "engine" / "inputs.py")))
    rows = tabulated(read(node.page))
    assert rows.keys() == WITH_PRESETS[path].keys()
    for name, numbers in WITH_PRESETS[path].items():
        pairs = zip(numbers, rows[name][: len(numbers)], strict=True)
        assert [pair for pair in pairs if not is_named(*pair)] == [], name


HEADINGS = ["Use it when", "Numbers", "Inputs", "Cost", "Stacks with", "Limits", "The method"]
FAMILIES = ["SD1.5", "SDXL", "SD3", "Flux", "ideo models"]
CODE_WIDTH = 28  # as many as the Info panel shows at once in its 272 pixels


@every_node
def test_help_page_has_its_headings_in_order(node):
    page = read(node.page)
    assert headings(page) == HEADINGS
    assert [heading for heading in HEADINGS if not section(page, heading).strip()] == []


@every_node
def test_help_page_begins_with_what_one_sees(node):
    """One or two sentences, and no formula: neither a sign of one nor a word that only the method needs."""
    seen = first_paragraph(read(node.page))
    assert re.fullmatch(r"[A-Z].*[.]\)?", seen)
    assert len(re.findall(r"[.]\)?(?= \(?[A-Z]|$)", seen)) <= 2
    assert re.findall(r"[=‖√∈Σ·×²|<>{}]|[α-ωΑ-Ω]|\b[wDxσ]\b|(?i:\bupdates?\b|\bpredict\w*)", seen) == []


@every_node
def test_help_page_says_when_to_use_it(node):
    assert len(re.findall(r"^- ", section(read(node.page), "Use it when"), re.MULTILINE)) >= 2


@every_node
def test_help_page_has_numbers_for_every_family(node):
    named = " ".join(re.findall(r"\*\*([^*]+)\*\*", section(read(node.page), "Numbers")))
    assert [family for family in FAMILIES if family not in named] == []


@every_node
def test_help_page_fits_into_the_info_panel(node):
    page = read(node.page)
    assert [row for row in page.splitlines() if row.startswith("|") and columns(row) > 2] == []
    assert [line for line in code_lines(page) if len(line) > CODE_WIDTH] == []
    assert "```" not in page, "an indented block is what code_lines measures"


@every_node
def test_help_page_has_one_picture_at_most(node):
    """It has a text in its place, and stands before the first heading."""
    page = read(node.page)
    pictures = re.findall(r"!\[([^\]]*)\]", page)
    assert len(pictures) <= 1
    assert all(pictures)
    assert "![" not in page.partition("\n## ")[2]


@every_node
def test_help_page_shows_the_picture_that_is_made_for_it(node):
    if hasattr(SPECIMENS[node.id], "PICTURES"):
        assert f"](pictures/{node.id}.jpg)" in read(node.page).partition("\n## ")[0]


@every_node
def test_help_page_links_every_paper(node):
    """As [arXiv 2207.12598](https://arxiv.org/abs/2207.12598), wherever it is named."""
    link = r"\[arXiv\s(\d{4}\.\d{5})\]\(https://arxiv\.org/abs/\1\)"
    assert arxiv_ids(re.sub(link, "", read(node.page))) == set()


def test_no_help_page_without_a_node():
    assert {page.name for page in HELP.glob("*.md")} == {node.page.name for node in ALL}


def test_no_picture_without_a_page():
    there = {path for path in HELP.rglob("*") if path.is_file() and path.suffix != ".md"}
    shown = [
        (page.parent / link).resolve() for page in PAGES for link in re.findall(r"!\[[^\]]*\]\(([^)\s]+)\)", read(page))
    ]
    assert there - set(shown) == set()


# ---- what is made -------------------------------------------------------------------------------------

packages.load("azimuth_lab", ROOT / "lab")
made = importlib.import_module("azimuth_lab.documents.pages")
nodes_read = importlib.import_module("azimuth_lab.documents.nodes")
papers = importlib.import_module("azimuth_lab.documents.papers")


@pytest.mark.parametrize("page", made.parts(), ids=lambda page: page.name)
def test_what_is_made_is_not_stale(page):
    assert read(page) == made.made(page), "run `python dev.py docs tables`"


def test_the_maker_finds_every_node():
    assert {(node.id, node.name) for node in made.all_nodes()} == {(node.id, node.name) for node in ALL}


OF_A_METHOD = ("FORMULAS", "DEFAULTS", "HELPERS", "SETTINGS", "SAMPLERS")


@every_node
def test_the_formula_is_two_clicks_from_the_readme(node):
    """README, the table of methods, the formula: of every node but those that write and those that look."""
    table = section(read(DOCS / "methods.md"), "The methods")
    rows = [row for row in table.splitlines() if f"(../js/docs/{node.id}.md)" in row]
    assert "(docs/methods.md)" in read(README)
    assert all(re.match(r"\| \[[^\]]+\]\(\.\./guidance/[\w/]+\.py\) \|", row) for row in rows)
    assert rows or not any(hasattr(SPECIMENS[node.id], name) for name in OF_A_METHOD)


def card(tmp_path, *lines):
    path = tmp_path / "card.py"
    path.write_text('"""A method.\n\n' + "\n".join(lines) + '\nFormula: D = D_c\n"""\n', encoding="utf-8")
    return papers.papers_in(path)


def test_a_card_names_several_papers(tmp_path):
    first, second = card(
        tmp_path,
        'Paper: Ahn et al. 2024, "One Title: with',
        'a Break" (OT), arXiv 2401.00001, section 2.3. Ours is another.',
        'Paper: Ho 2022, "Is It?", arXiv 2201.00002.',
    )
    assert (first.id, first.authors, first.year) == ("2401.00001", "Ahn et al.", "2024")
    assert (first.title, first.known_as, *first.files.values()) == ("One Title: with a Break", "OT", "section 2.3")
    assert (second.id, second.title, second.known_as, *second.files.values()) == ("2201.00002", "Is It?", "", "")


@pytest.mark.parametrize(
    "line", ["Paper: none.", "Paper: Ho 2022, arXiv 2201.00002.", 'Paper: Ho 2022, "A", 2201.00002.']
)
def test_a_line_of_another_form_is_an_error(tmp_path, line):
    with pytest.raises(ValueError, match="names a paper"):
        card(tmp_path, line)


# ---- README, its pages and CHANGELOG -------------------------------------------------------------------


@every_node
def test_readme_lists_the_node(node):
    assert f"\n- [{node.name}](js/docs/{node.id}.md): " in read(README)


def test_readme_is_short():
    assert len(README.read_bytes()) <= 12_000


def test_readme_begins_with_the_contact_sheet():
    assert re.match(r"# .+\n\n!\[[^\]]+\]\(docs/contact_sheet\.png\)", read(README))


def test_readme_installs_without_the_history():
    assert re.findall(r"git clone .*", read(README)) == [f"git clone --depth 1 {repository()}"]


def repository() -> str:
    return re.search(r'^Repository = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)[1]


def wishes() -> list[str]:
    """The rows of the table that goes from a wish to a node and its numbers, and the note below them."""
    table = re.search(r"^\| I want \|[^\n]*\n\|[-|]+\|\n(.*?)\n\n(\\\*.*?)\n\n", read(README), re.MULTILINE | re.DOTALL)
    return [*table[1].splitlines(), table[2]]


def numbers(markdown: str) -> set[float]:
    written = re.sub(r"\]\([^)\s]*\)", "]", markdown).replace("−", "-")
    return {float(number) for number in re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w.]*\d)", written)}


def test_readme_answers_every_wish():
    assert len(wishes()) >= 9
    assert all("(js/docs/" in row for row in wishes())


@pytest.mark.parametrize("row", wishes(), ids=lambda row: row.strip("| ")[:30])
def test_readme_gives_the_numbers_of_the_help_pages(row):
    pages = re.findall(r"\((js/docs/\w+\.md)\)", row)
    assert numbers(row) - set().union(*(numbers(read(ROOT / page)) for page in pages)) == set()


EXAMPLES = re.findall(r"```python\n(.*?)```\n+```text\n(.*?)```", read(FROM_PYTHON), re.DOTALL)


def test_every_example_is_found():
    assert len(EXAMPLES) == read(FROM_PYTHON).count("```python") >= 4


@pytest.mark.parametrize(("example", "printed"), EXAMPLES, ids=range(len(EXAMPLES)))
def test_example_prints_what_it_says(example, printed):
    done = subprocess.run([sys.executable, "-c", example], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, printed), done.stderr


DEVELOPING = read(DOCS / "developing.md")
EXCERPTS = re.findall(r"```python\n# (\S+)\n(.*?)```", DEVELOPING, re.DOTALL)


@pytest.mark.parametrize(("file", "code"), EXCERPTS, ids=[file for file, _ in EXCERPTS])
def test_an_excerpt_stands_in_its_file(file, code):
    written = read(ROOT / file)
    assert [part for part in code.split("...\n") if part not in written] == []


def test_every_excerpt_has_its_file():
    assert len(EXCERPTS) == DEVELOPING.count("```python") == DEVELOPING.count("```") / 2 >= 3


def test_developing_names_the_chapters_as_the_menu_does():
    rows = re.findall(r"^\| `(\w+)` \| (\d [^|]+) \|", DEVELOPING, re.MULTILINE)
    assert rows == [(chapter, nodes_read.menu_words(chapter)) for chapter in specimens.CHAPTERS]


def test_developing_gives_the_width_of_the_panel():
    assert f"no line of code has more than {CODE_WIDTH} characters" in " ".join(DEVELOPING.split())


def test_changelog_has_the_version():
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.M)[1]
    assert re.search(rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$", read(CHANGELOG), re.MULTILINE)


# ---- papers, links, pictures ---------------------------------------------------------------------------


def arxiv_ids(words: str) -> set[str]:
    return set(re.findall(r"\b\d{4}\.\d{5}\b", words))


def papers_of_the_code() -> set[str]:
    code = [*(ROOT / "guidance").rglob("*.py"), *NODES.rglob("*.py")]
    return set().union(*(arxiv_ids(path.read_text(encoding="utf-8")) for path in code))


@every_page
def test_papers_are_those_of_the_code(page):
    """All but the list of the methods that the code does not have."""
    assert page == NOT_INCLUDED or arxiv_ids(read(page)) - papers_of_the_code() == set()


def nodes_of_paper(paper: str) -> set[str]:
    """The names of the nodes that a table gives for a paper, without what is in brackets."""
    named = {node.id: node.name.partition(" (")[0] for node in ALL}
    rows = [row for row in specimens.found("TABLE") if paper in row.paper]
    return {named[id] for row in rows for id in re.findall(r"Azimuth\w+", row.node)}


def test_what_is_included_is_not_among_what_is_not():
    """But for a part of it: such a row names the node that has the rest."""
    refused = read(NOT_INCLUDED).partition("## Here under another name")[0]
    for method, paper, reason in re.findall(r"^\| (.+?) \| (.*?) \| (.+) \|$", refused, re.MULTILINE):
        included = set().union(*map(nodes_of_paper, arxiv_ids(paper)))
        assert not included or any(name in reason for name in included), f"{method} is included: {included}"


def test_references_list_every_paper_once():
    listed = re.findall(r"^- \[(\d{4}\.\d{5})\]\(https://arxiv\.org/abs/\1\): ", read(REFERENCES), re.MULTILINE)
    assert sorted(listed) == sorted(papers_of_the_code())


def links(page: Path) -> list[str]:
    markdown = re.sub(r"```.*?```", "", read(page), flags=re.DOTALL)
    return re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", markdown)


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", read(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def is_dead(page: Path, link: str) -> bool:
    path, _, anchor = unquote(link).partition("#")
    target = (page.parent / path).resolve() if path else page
    inside = ROOT in target.parents and target.is_file()
    return not inside or bool(anchor and anchor not in anchors(target))


@every_page
def test_links_to_local_files_lead_somewhere(page):
    local = [link for link in links(page) if not link.startswith("https://")]
    assert [link for link in local if is_dead(page, link)] == []


@every_page
def test_pictures_are_pictures(page):
    for link in re.findall(r"!\[[^\]]*\]\(([^)\s]+)\)", read(page)):
        picture = (page.parent / link).read_bytes()
        assert picture.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")), f"{link} is neither PNG nor JPEG"


@every_page
def test_pages_say_nothing_about_one_machine(page):
    assert not re.search(r"(?<![\w/.])/(?:home|root|tmp|work|Users|mnt)/|127\.0\.0\.1|localhost", read(page))
