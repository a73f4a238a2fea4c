"""Has the rows sampled by a ComfyUI: one workflow per model over HTTP, followed over the WebSocket."""

import io
import sys
import uuid

import aiohttp
from PIL import Image
from tqdm import tqdm

from specimens.kinds import Picture

from .rows import STEPS, models_of
from .workflow import Trouble, Workflow, defaults_of


class Server:
    """The few requests that this script makes."""

    def __init__(self, url: str, session: aiohttp.ClientSession):
        self.url, self.session, self.client = url, session, uuid.uuid4().hex

    async def json(self, path: str) -> dict:
        async with self.session.get(self.url + path) as reply:
            reply.raise_for_status()
            return await reply.json()

    async def submit(self, workflow: Workflow) -> str:
        """Queue a workflow; its prompt id."""
        body = {"prompt": workflow.nodes, "client_id": self.client}
        async with self.session.post(self.url + "/prompt", json=body) as reply:
            answer = await reply.json()
        if reply.status != 200 or answer.get("node_errors"):  # the server runs what is right of a prompt
            raise Trouble(f"The server refused the {workflow.model} workflow: {refusal(answer)}")
        return answer["prompt_id"]

    async def follow(self, workflows: dict[str, Workflow], progress: tqdm) -> None:
        """Until all workflows are done. The socket must be open before they are queued: see `sample`."""
        left, steps = set(workflows), dict.fromkeys(workflows, 0)
        async for message in self.socket:
            if message.type != aiohttp.WSMsgType.TEXT:
                continue
            event = message.json()
            data = event.get("data", {})
            name = data.get("prompt_id")
            if name not in workflows:
                continue
            if event["type"] == "execution_error":
                raise Trouble(f"{data['node_type']} failed: {data['exception_message'].strip()}")
            if event["type"] == "progress_state":
                steps[name] = steps_done(workflows[name], data["nodes"], progress)
                progress.update(sum(steps.values()) - progress.n)
            if event["type"] == "execution_success":
                left.discard(name)
            if not left:
                return
        raise Trouble("The server went away while it worked: read why in its log and run this again.")

    async def images(self, prompt_id: str, workflow: Workflow) -> dict[tuple[int, int], list[Image.Image]]:
        history = await self.json(f"/history/{prompt_id}")
        outputs = history[prompt_id]["outputs"]
        return {
            cell: [await self.image(file) for file in outputs[saver]["images"]]
            for saver, cell in workflow.savers.items()
        }

    async def image(self, file: dict) -> Image.Image:
        async with self.session.get(self.url + "/view", params=file) as reply:
            reply.raise_for_status()
            return Image.open(io.BytesIO(await reply.read())).convert("RGB")


def steps_done(workflow: Workflow, nodes: dict, progress: tqdm) -> int:
    """The sampling steps done in a workflow, whose running row becomes the bar's title."""
    samplers = {name: state for name, state in nodes.items() if name in workflow.samplers}
    for name, state in samplers.items():
        if state["state"] == "running":
            progress.set_description(f"{workflow.samplers[name]:<28}", refresh=False)
    return sum(int(state["value"]) for state in samplers.values() if state["max"] == STEPS)


def refusal(answer: dict) -> str:
    """What the server found wrong with a prompt, in its own words."""
    found = [
        f"{node['class_type']}: {error['message']} ({error['details']})"
        for node in answer.get("node_errors", {}).values()
        for error in node["errors"]
    ]
    return "; ".join(found) or answer.get("error", {}).get("message", "it gave no reason")


async def sample(url: str, rows: tuple[Picture, ...]) -> dict[str, dict[tuple[int, int], list[Image.Image]]]:
    """Per model and cell (row, prompt) its pictures."""
    async with aiohttp.ClientSession() as session:
        server = Server(url, session)
        defaults = defaults_of(await server.json("/object_info"))
        async with session.ws_connect(f"{url}/ws?clientId={server.client}", max_msg_size=0) as server.socket:
            workflows = {}
            for model in models_of(rows):
                workflow = Workflow(model, rows, defaults)
                workflows[await server.submit(workflow)] = workflow
            total = STEPS * sum(len(workflow.samplers) for workflow in workflows.values())
            every = 0.1 if sys.stderr.isatty() else 10.0
            with tqdm(total=total, unit="step", mininterval=every, dynamic_ncols=True) as progress:
                await server.follow(workflows, progress)
                progress.set_description("Sampled", refresh=False)
                progress.update(total - progress.n)
        return {workflow.model: await server.images(name, workflow) for name, workflow in workflows.items()}
