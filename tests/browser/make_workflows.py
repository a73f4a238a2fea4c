"""Makes example_workflows/ with the real front-end on a real server, from the recipes in recipes.py.

    COMFYUI_PATH=... python -m tests.browser.make_workflows [--check] [--preview FOLDER] [name ...]

Run it in the repository's root, in the environment that dev.py makes. Without names it makes what is missing or says
something else than its recipe, gives the others the names of their recipes, and removes what has none; with --check
it says so and changes nothing. The front-end builds each graph node by node, arranges and saves it; a checkpoint's
thumbnail is the front-end's own drawing, a lab workflow's shows the pictures that it samples. --preview also keeps a
drawing of each whole graph in both renderers, to be looked at.
"""

import argparse
import io
import json
import sys
import urllib.parse
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from specimens.kinds import Recipe

from ..http.server import Server, failure, running
from .files import FOLDER, identity, misnamed, outdated, read, unwanted
from .frontend import RENDERERS, FrontEnd, browsing, open_page
from .graphs import plan
from .recipes import RECIPES

THUMBNAIL = (512, 512)
MOST_BYTES = 60_000


# ---- From a recipe to the front-end's own file -----------------------------------------------------------

BUILD = """(plan) => {
    const GAP_X = 90, GAP_Y = 90, WIDTH = 300, TOP = 80, LEFT = 60;
    const nodes = plan.map(wanted => {
        const node = LiteGraph.createNode(wanted.kind);
        if (!node) throw new Error(`The front-end knows no node ${wanted.kind}.`);
        app.graph.add(node);
        if (wanted.title) node.title = wanted.title;
        if (wanted.models.length) node.properties.models = wanted.models;
        for (const [name, value] of wanted.values) {
            const widget = node.widgets.find(w => w.name === name || (name === '' && w === node.widgets[0]));
            if (!widget) throw new Error(`${wanted.kind} has no widget ${name}.`);
            widget.value = value;
            widget.callback?.(value, app.canvas, node);
        }
        const least = node.computeSize();
        node.setSize([Math.max(least[0], WIDTH, wanted.size[0]), Math.max(least[1], wanted.size[1])]);
        if (wanted.kind.startsWith('Azimuth') && wanted.kind !== 'AzimuthLabLoader') {
            const colours = LGraphCanvas.node_colors.blue;
            Object.assign(node, {color: colours.color, bgcolor: colours.bgcolor});
        }
        return node;
    });
    plan.forEach((wanted, i) => wanted.links.forEach(([name, source, output]) => {
        if (!nodes[source].connect(output, nodes[i], nodes[i].findInputSlot(name)))
            throw new Error(`${wanted.kind} takes no link at ${name}.`);
    }));
    const columns = [...new Set(plan.map(w => w.column))].sort((a, b) => a - b);
    const tallest = {};
    for (const column of columns) {
        const stacks = {};
        plan.forEach((w, i) => {
            if (w.column !== column || w.row === null) return;
            stacks[w.row] = (stacks[w.row] ?? 0) + nodes[i].size[1] + GAP_Y;
        });
        for (const row in stacks) tallest[row] = Math.max(tallest[row] ?? 0, stacks[row]);
    }
    const top = row => Object.keys(tallest).reduce((y, r) => Number(r) < row ? y + tallest[r] : y, TOP);
    let x = LEFT;
    for (const column of columns) {
        const here = nodes.filter((_, i) => plan[i].column === column);
        const below = {};
        let y = TOP;
        for (const node of here) {
            const row = plan[nodes.indexOf(node)].row;
            if (row === null) { node.pos = [x, y]; y += node.size[1] + GAP_Y; continue; }
            below[row] ??= top(row);
            node.pos = [x, below[row]];
            below[row] += node.size[1] + GAP_Y;
        }
        x += Math.max(...here.map(n => n.size[0])) + GAP_X;
    }
}"""

FRAME = """({width, height, left, top, most}) => {
    const nodes = app.graph.nodes;
    const edge = (f, pick) => Math[pick](...nodes.map(f));
    const [x0, y0] = [edge(n => n.pos[0], 'min') - 30, edge(n => n.pos[1] - 30, 'min') - 30];
    const x1 = edge(n => n.pos[0] + n.size[0], 'max') + 30;
    const y1 = edge(n => n.pos[1] + n.size[1], 'max') + 30;
    const scale = Math.min(most, width / (x1 - x0), height / (y1 - y0));
    const spare = [width / scale - (x1 - x0), height / scale - (y1 - y0)];
    app.canvas.ds.scale = scale;
    app.canvas.ds.offset[0] = left / scale - x0 + spare[0] / 2;
    app.canvas.ds.offset[1] = top / scale - y0 + spare[1] / 2;
    app.canvas.setDirty(true, true);
}"""


def frame(page: FrontEnd, *, box=(70, 60, 1500, 920), most=1.0) -> None:
    """Move the canvas so that the nodes fill a box (left, top, width, height) of the page."""
    left, top, width, height = box
    page.run(FRAME, {"left": left, "top": top, "width": width, "height": height, "most": most})
    page.settle()
    page.page.wait_for_timeout(400)


def make(page: FrontEnd, recipe: Recipe) -> dict:
    """The workflow as the front-end saves it, with an id that does not change from run to run."""
    page.clear(identity(recipe))
    page.run(BUILD, plan(recipe))
    page.settle()
    frame(page)
    return page.workflow()


# ---- Thumbnails ------------------------------------------------------------------------------------------


def save_thumbnail(picture: Image.Image, path: Path) -> None:
    """As JPEG, as fine as the limit on its size allows."""
    for quality in range(92, 4, -4):
        buffer = io.BytesIO()
        picture.convert("RGB").save(buffer, "JPEG", quality=quality, optimize=True)
        if buffer.tell() <= MOST_BYTES:
            break
    path.write_bytes(buffer.getvalue())


PACKED = """() => {
    const next = n => n.outputs.flatMap(o => o.links ?? []).map(id => app.graph.links.get(id).target_id);
    const ours = app.graph.nodes.filter(n => n.type.startsWith('Azimuth')).map(n => n.id);
    const last = app.graph.getNodeById(ours.at(-1));
    const shown = ours.length > 3 ? ours : [...new Set([...ours, ...next(last).slice(0, 1)])];
    app.graph.nodes.filter(n => !shown.includes(n.id)).forEach(n => app.graph.remove(n));
    const nodes = app.graph.nodes;
    const across = nodes.length > 2 ? 2 : 1;
    const wide = Math.max(...nodes.filter((_, i) => i % across === 0).map(n => n.size[0]));
    let y = 0;
    for (let i = 0; i < nodes.length; i += across) {
        const row = nodes.slice(i, i + across);
        row.forEach((node, column) => { node.pos = [column * (wide + 80), y]; });
        y += Math.max(...row.map(n => n.size[1])) + 80;
    }
}"""


def drawn(page: FrontEnd) -> Image.Image:
    """The front-end's drawing of our nodes and what they lead to, moved together two by two."""
    page.run(PACKED)
    width, height = THUMBNAIL
    frame(page, box=(300, 200, width, height), most=1.6)
    shot = page.page.screenshot(clip={"x": 300, "y": 200, "width": width, "height": height})
    return Image.open(io.BytesIO(shot))


def sampled(server: Server, workflow: dict, prompt: dict) -> Image.Image:
    """The pictures of a lab workflow, under the titles of the nodes that show them."""
    history = server.run(prompt, 1800)
    if problem := failure(history):
        raise SystemExit(f"The workflow failed: {problem}")
    titles = {str(node["id"]): node.get("title", "") for node in workflow["nodes"]}
    shown = [
        (titles[name], [Image.open(io.BytesIO(server.ask(view(image))[1])) for image in output["images"]])
        for name, output in sorted(history["outputs"].items(), key=lambda item: int(item[0]))
        if "images" in output
    ]
    return contact(shown)


def view(image: dict) -> str:
    return "/view?" + urllib.parse.urlencode({key: image[key] for key in ("filename", "subfolder", "type")})


def contact(shown: list[tuple[str, list[Image.Image]]], across: int = 3, side: int = 84) -> Image.Image:
    """One block of 2 x 2 pictures for each title."""
    font = ImageFont.load_default(13)
    width, height = 2 * side + 4, 2 * side + 24
    rows = -(-len(shown) // across)
    sheet = Image.new("RGB", (across * width, rows * height), (24, 24, 26))
    draw = ImageDraw.Draw(sheet)
    for index, (title, pictures) in enumerate(shown):
        x, y = (index % across) * width + 2, (index // across) * height
        draw.text((x + 2, y + 4), title, font=font, fill=(235, 235, 235))
        for corner, picture in enumerate(pictures[:4]):
            small = picture.convert("RGB").resize((side - 2, side - 2), Image.Resampling.NEAREST)
            sheet.paste(small, (x + (corner % 2) * side, y + 22 + (corner // 2) * side))
    return sheet


# ---- The command -----------------------------------------------------------------------------------------


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Make example_workflows/ with the real front-end.")
    parser.add_argument("names", nargs="*", metavar="name", help="which ones (default: what is not as it should be)")
    parser.add_argument("--check", action="store_true", help="change nothing, and exit 1 if something is to do")
    parser.add_argument("--preview", type=Path, help="also save drawings of the whole graphs in this folder")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(RECIPES):
        parser.error(f"there is no recipe {', '.join(sorted(unknown))}; choose from {', '.join(RECIPES)}")
    if options.check:
        return check()
    FOLDER.mkdir(exist_ok=True)
    put_in_order()
    names = options.names or outdated()
    if names:
        make_all(names, options.preview)
    return 0


def check() -> int:
    stale = [*(f"{old} is to be {new.name}" for old, new in misnamed().items()), *map(str, unwanted())]
    stale += [str(FOLDER / f"{name}.json") for name in outdated()]
    sys.stdout.writelines(f"stale: {what}\n" for what in stale)
    return 1 if stale else 0


def put_in_order() -> None:
    """Remove what no recipe makes, and give the other files their names; two may have to change theirs round."""
    for path in unwanted():
        path.unlink()
        sys.stdout.write(f"removed {path}\n")
    changed = misnamed()
    for suffix in (".json", ".jpg"):
        here = {old.with_suffix(suffix): new.with_suffix(suffix) for old, new in changed.items()}
        parked = {old.rename(old.with_name(f"{old.name}.old")): new for old, new in here.items() if old.exists()}
        for old, new in parked.items():
            old.rename(new)
    sys.stdout.writelines(f"{new}, which was {old.name}\n" for old, new in changed.items())


def make_all(names: list[str], previews: Path | None) -> None:
    with running() as server, browsing() as browser:
        server.settings(LiteGraph__Canvas__MinFontSizeForLOD=0)  # text however small
        with open_page(browser, server, "classic") as page:
            for name in names:
                make_files(server, page, name, RECIPES[name])
        if previews:
            previews.mkdir(parents=True, exist_ok=True)
            for renderer in RENDERERS:
                with open_page(browser, server, renderer) as page:
                    preview(page, names, previews, renderer.replace(" ", "_"))


def make_files(server: Server, page: FrontEnd, name: str, recipe: Recipe) -> None:
    workflow = make(page, recipe)
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps(workflow, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    in_lab = any(node["type"] == "AzimuthLabLoader" for node in workflow["nodes"])
    save_thumbnail(sampled(server, workflow, page.prompt()) if in_lab else drawn(page), path.with_suffix(".jpg"))
    sys.stdout.write(f"{path}\n")


def preview(page: FrontEnd, names: list[str], folder: Path, renderer: str) -> None:
    for name in names:
        page.load(read(FOLDER / f"{name}.json"))
        page.page.wait_for_timeout(600)
        frame(page)
        (folder / f"{name}_{renderer}.png").write_bytes(page.page.screenshot())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
