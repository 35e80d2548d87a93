"""The page walk-incident.md: its calls are made through the hub, in both eras, on a shop that really fails."""

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import anyio.to_thread
import pytest
from docs.walks import Mode, Walk, hub_up, offered, walk_steps
from reference.backends import free_port, running
from reference.orders import Orders, shop_in_business
from reference.people import Person, client_with, make_key
from reference.prometheus import Alertmanager, Prometheus

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]

PAGE = "docs/walk-incident.md"
DEPLOYER = Path(__file__).parents[1] / "reference/deploy_server.py"
IN_BUSINESS = 'count_over_time(sum(rate(requests_total{job="shop"}[5s]))[10s:1s]) >= 10'
"""A diagnosis compares with what was before."""
PRICES = 'PRICES = {"book": 12, "pen": 2, "lamp": 35, "chair": 60}\n'
RELEASES = {
    "40": f"""\
{PRICES}

def price(article):
    return PRICES[article]
""",
    "41": f"""\
{PRICES}OFF = {{"book": 1, "lamp": 5}}


def price(article):
    return PRICES[article] - OFF[article]
""",
}


def releases(folder: Path) -> Path:
    """Lay the releases out, with 40 as the one that runs."""
    for name, code in RELEASES.items():
        (folder / "releases" / name).mkdir(parents=True)
        (folder / "releases" / name / "prices.py").write_text(code)
    (folder / "current").symlink_to("releases/40")
    return folder


def deployer(home: Path, folder: Path, prices: str, hub: str) -> Path:
    """Write the mcp.json that mounts the deployer behind the hub."""
    environment = {
        "DEPLOY_FOLDER": str(folder),
        "DEPLOY_URL": prices,
        "DEPLOY_CHANGES": f"{hub}/hooks/qsre/changes",
        "DEPLOY_KEY": make_key(home, "deploy"),
    }
    entry = {"command": sys.executable, "args": [str(DEPLOYER), "--stdio"], "env": environment}
    file = home / "mcp.json"
    file.write_text(json.dumps({"mcpServers": {"deploy": entry}}))
    return file


@contextmanager
def watched(directory: Path, orders: Orders, workspace: Path, hub: str, key: str) -> Iterator[Prometheus]:
    """Run Prometheus over both services and the rules of the workspace, and an Alertmanager that calls the hub."""
    alertmanager = Alertmanager(directory / "alertmanager", f"{hub}/hooks/qsre/alertmanager", key=key)
    prometheus = Prometheus(
        directory / "prometheus",
        alertmanager=alertmanager,
        jobs={"shop": [orders.shop.address], "prices": [orders.prices.address]},
        rule_files=[str(workspace / "slos/*.rules.yaml")],
    )
    with running(alertmanager), running(prometheus):
        yield prometheus


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_walk_through_an_incident_goes_as_the_page_says(mode: Mode, tmp_path: Path) -> None:
    home, workspace, port = tmp_path / "home", tmp_path / "workspace", free_port()
    (home / "data").mkdir(parents=True)
    workspace.mkdir()
    hub = f"http://127.0.0.1:{port}"
    folder = releases(tmp_path / "prices")
    with ExitStack() as stack:
        orders = stack.enter_context(shop_in_business(tmp_path / "services", folder))
        key = make_key(home, "alertmanager")
        prometheus = stack.enter_context(watched(tmp_path / "watch", orders, workspace, hub, key))
        config = deployer(home, folder, orders.prices.url, hub)
        options = ("--port", str(port), "--config", str(config))
        person = Person()
        async with (
            hub_up(workspace, home, *options, QUANTUM_METRICS=f"live={prometheus.url}") as url,
            client_with(url, make_key(home, "assistant"), mode=mode, elicitation_callback=person) as client,
        ):
            await anyio.to_thread.run_sync(prometheus.wait_until, IN_BUSINESS)
            await offered(client, "deploy_release", "qsre_define_slo", "orchestrator_workflow_status")
            assert prometheus.process is not None
            pipeline = {"QUANTUM_URL": url, "QUANTUM_KEY": make_key(home, "pipeline")}
            walk = Walk(client, workspace, person, {**pipeline, "PROMETHEUS": str(prometheus.process.pid)})
            for step in walk_steps(PAGE):
                await walk.take(step)
    assert (folder / "current").resolve().name == "40"
