"""The real front-end in Chromium: one page on a running server, in one of its two renderers."""

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator

from ..http.server import PACK, Server, Trouble

RENDERERS = {"classic": False, "nodes 2.0": True}
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
VIEW = {"width": 1600, "height": 1000}
READY = "() => window.app?.graph && app.extensionManager && 'KSampler' in LiteGraph.registered_node_types"


MIDDLE_OF_NUMBER = """([id, name]) => {
    const node = app.graph.getNodeById(id);
    const widget = node.widgets.find(w => w.name === name);
    if (LiteGraph.vueNodesMode) {
        const numbers = node.widgets.filter(w => w.type === 'number');
        const fields = document.querySelectorAll(`[data-node-id="${id}"] input[role="spinbutton"]`);
        const box = fields[numbers.indexOf(widget)].getBoundingClientRect();
        return [box.x + box.width / 2, box.y + box.height / 2];
    }
    const { scale, offset } = app.canvas.ds;
    const box = app.canvas.canvas.getBoundingClientRect();
    const [x, y] = [node.pos[0] + node.size[0] / 2, node.pos[1] + widget.y + 10];
    return [box.x + (x + offset[0]) * scale, box.y + (y + offset[1]) * scale];
}"""


class FrontEnd:
    """A page with the front-end open. `errors` collects what the browser reports about our own files."""

    def __init__(self, page, url: str):
        self.page, self.url = page, url
        self.errors: list[str] = []
        page.route("**/*", self.only_the_server)
        page.on("console", self.on_console)
        page.on("pageerror", lambda error: self.errors.append(f"page error: {error}"))
        page.goto(url)
        page.wait_for_function(READY, timeout=90_000)
        page.wait_for_function("() => !document.querySelector('#splash-loader')", timeout=90_000)

    def only_the_server(self, route) -> None:
        """The front-end asks other machines for news and models; a test must not depend on them."""
        if route.request.url.startswith((self.url, "data:", "blob:")):
            route.continue_()
        else:
            route.abort()

    def on_console(self, message) -> None:
        where = message.location.get("url", "")
        ours = any(f"/extensions/{name}/" in f"{where} {message.text}" for name in (PACK, "azimuth_lab"))
        if message.type == "error" and (ours or "zimuth" in message.text):
            self.errors.append(f"{message.text} ({where})")

    def run(self, script: str, argument=None):
        return self.page.evaluate(script, argument)

    def clear(self, name: str | None = None) -> None:
        """Open an empty workflow with an id of its own: widgets keep their values by workflow and node id."""
        empty = {"version": 0.4, "last_node_id": 0, "last_link_id": 0, "nodes": [], "links": []}
        empty["extra"] = {"ds": {"scale": 1, "offset": [0, 0]}}
        self.load({"id": name or str(uuid.uuid4()), **empty})

    def load(self, workflow: dict) -> list[str]:
        """Open a workflow file's content as a user does; the node types that the front-end does not know."""
        self.run("workflow => app.loadGraphData(workflow)", workflow)
        self.settle()
        return self.run(
            "() => app.graph.nodes.map(n => n.type).filter(type => !(type in LiteGraph.registered_node_types))"
        )

    def settle(self) -> None:
        """Until the page has drawn twice, so that watchers have run."""
        self.run("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def add(self, kind: str, x: int = 200, y: int = 200) -> int:
        """Add a node; its id."""
        made = self.run(
            """([kind, x, y]) => {
                const node = LiteGraph.createNode(kind);
                if (!node) return null;
                node.pos = [x, y];
                app.graph.add(node);
                return node.id;
            }""",
            [kind, x, y],
        )
        if made is None:
            raise Trouble(f"The front-end knows no node {kind}.")
        self.settle()
        return made

    def widgets(self, node: int) -> dict:
        """The values of a node's widgets, by name and in order."""
        return dict(self.run("id => app.graph.getNodeById(id).widgets?.map(w => [w.name, w.value]) ?? []", node))

    def choose(self, node: int, widget: str, value) -> None:
        """Set a widget's value, as the widgets of both renderers do."""
        self.run(
            """([id, name, value]) => {
                const node = app.graph.getNodeById(id);
                const widget = node.widgets.find(w => w.name === name);
                widget.value = value;
                widget.callback?.(value, app.canvas, node);
            }""",
            [node, widget, value],
        )
        self.settle()

    def type_number(self, node: int, widget: str, text: str) -> None:
        """Type into a number's field: inside the node in Nodes 2.0, in a small window on the classic canvas."""
        self.page.mouse.click(*self.run(MIDDLE_OF_NUMBER, [node, widget]))
        if self.run("() => Boolean(LiteGraph.vueNodesMode)"):
            self.page.keyboard.press("Control+A")
            self.page.keyboard.type(text)
        else:
            self.page.locator(".graphdialog input").fill(text)
        self.page.keyboard.press("Enter")
        self.settle()

    def connect(self, source: int, output: int, target: int, name: str) -> bool:
        """Whether the front-end accepts a link to the input of that name."""
        script = """([source, output, target, name]) => {
            const [from, to] = [app.graph.getNodeById(source), app.graph.getNodeById(target)];
            return Boolean(from.connect(output, to, to.findInputSlot(name)));
        }"""
        return self.run(script, [source, output, target, name])

    def boxes(self) -> dict[str, list[float]]:
        """For each node left, top, width and height in the graph's own units, its title included."""
        return self.run(
            "() => Object.fromEntries(app.graph.nodes.map(n =>"
            " [`${n.id} ${n.title}`, [n.pos[0], n.pos[1] - 30, n.size[0], n.size[1] + 30]]))"
        )

    def drawn_size(self, node: int) -> list[float]:
        """Width and height of what is drawn: the element in Nodes 2.0, the node on the classic canvas."""
        return self.run(
            """id => {
                const node = app.graph.getNodeById(id);
                const element = document.querySelector(`[data-node-id="${id}"]`)?.getBoundingClientRect();
                return LiteGraph.vueNodesMode ? [element?.width ?? 0, element?.height ?? 0] : [...node.size];
            }""",
            node,
        )

    def text_boxes(self, node: int) -> list:
        """The fields that a user types into: inside the node in Nodes 2.0, above the canvas otherwise."""
        inside = f'[data-node-id="{node}"]' if self.run("() => Boolean(LiteGraph.vueNodesMode)") else ".dom-widget"
        return self.page.locator(f"{inside} textarea").all()

    def prompt(self) -> dict:
        """The open graph as the prompt in API format that the front-end would send."""
        return json.loads(self.run("async () => JSON.stringify((await app.graphToPrompt()).output)"))

    def workflow(self) -> dict:
        """The open graph as the front-end saves it."""
        return json.loads(self.run("() => JSON.stringify(app.graph.serialize())"))


def chromium(playwright) -> str:
    """The Chromium that dev.py hands on in CHROMIUM, or else one of the PATH or playwright's own."""
    ours = os.environ.get("CHROMIUM"), "chromium", "chromium-browser", playwright.chromium.executable_path
    found = next(filter(None, map(shutil.which, filter(None, ours))), None)
    if found is None:
        raise Trouble("No Chromium was found: run `python dev.py test`, install one or name it in CHROMIUM.")
    return found


@contextlib.contextmanager
def browsing() -> Iterator:
    """A running Chromium."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise Trouble("playwright is missing: run `python dev.py test`, or pip install playwright.") from None
    os.environ.setdefault("PLAYWRIGHT_BROWSERS_PATH", "0")  # where dev.py has playwright keep them
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(playwright), args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def open_page(browser, server: Server, renderer: str, view: dict = VIEW) -> Iterator[FrontEnd]:
    """The front-end on a server, in the renderer of that name, past the greetings of a first start."""
    server.settings(Comfy__TutorialCompleted=True, Comfy__Minimap__Visible=False)
    server.settings(Comfy__VueNodes__Enabled=RENDERERS[renderer])
    context = browser.new_context(viewport=view)
    try:
        yield FrontEnd(context.new_page(), server.url)
    finally:
        context.close()
