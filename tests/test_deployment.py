"""The image, the composition and the alerts name only what exists; no container is started."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml

from serving.settings import Settings
from tests.commands import run
from tests.states import crm

ROOT = Path(__file__).parents[1]
OPERATIONS = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]


def instructions():
    """Return (instruction, text) of the Dockerfile, with lines joined."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1].strip()) for line in lines]


def of(name):
    return [text for instruction, text in instructions() if instruction == name]


def environment():
    return dict(pair.split("=", 1) for text in of("ENV") for pair in shlex.split(text))


def assert_runs(arguments):
    """Assert that a command of ours takes these arguments: each option is one that it has."""
    command = [word for word in arguments if not word.startswith("-")][:1]
    told = run(*command, "--help").out
    for option in (word.partition("=")[0] for word in arguments if word.startswith("--")):
        assert re.search(rf"{option}\b", told), option


def assert_are_settings(names):
    for name in names:
        if name.startswith("LEADQUAL_"):
            assert name.removeprefix("LEADQUAL_").lower() in Settings.model_fields, name


def test_what_the_image_copies_exists_and_is_let_through():
    ignored = (ROOT / ".dockerignore").read_text().split()
    for text in of("COPY"):
        if not text.startswith("--from"):
            for name in text.split()[:-1]:
                assert (ROOT / name).exists(), name
                assert f"!{name}" in ignored, name


def test_what_a_wheel_needs_is_in_the_image():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    copied = {name for text in of("COPY") for name in text.split()[:-1]}
    needed = {*project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"], "README.md"}
    assert needed | {*project["project"]["license-files"], "pyproject.toml"} <= copied


def test_the_image_starts_a_command_that_takes_its_options_and_settings():
    (entrypoint,), (command,) = of("ENTRYPOINT"), of("CMD")
    assert json.loads(entrypoint) == ["leadqual"]
    assert_runs(json.loads(command))
    assert_are_settings(environment())


def test_the_image_runs_as_nobody_special_and_writes_to_its_volume_only():
    assert of("USER") == ["10001:10001"]
    (volume,) = of("VOLUME")
    for name in ("NUMBA_CACHE_DIR", "LEADQUAL_MODEL_CACHE"):
        assert environment()[name].startswith(f"{volume}/")
    last = [name for name, _ in instructions()]
    assert last.index("USER") > max(at for at, name in enumerate(last) if name == "RUN")


def test_no_secret_is_in_the_image_or_the_composition():
    text = (ROOT / "Dockerfile").read_text() + (ROOT / "compose.yaml").read_text()
    text = re.sub(r"\$\{POSTGRES_PASSWORD:\?[^}]*\}", "", text)
    assert re.findall(r"PASSWORD.*", text) == ["PASSWORD: "]
    assert set(re.findall(r"://leadqual:(.*)@", text)) == {""}


def test_the_pinned_packages_are_those_that_are_tested():
    def pins(name):
        text = (ROOT / name).read_text(encoding="utf-8")
        return set(re.findall(r"^([a-z0-9._-]+==[^ ;\\]+)", text, re.M))

    serve = pins("requirements-serve.lock")
    assert serve <= pins("requirements.lock")
    for needed in ("fastapi", "mlflow", "psycopg", "sqlalchemy", "uvicorn"):
        assert any(pin.startswith(f"{needed}==") for pin in serve), needed
    assert not any(pin.startswith("pytest") for pin in serve)


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_health_check_is_what_readyz_says(status, code):
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_): ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.handle_request, daemon=True).start()
    (text,) = of("HEALTHCHECK")
    python, *rest = json.loads(text.partition("CMD ")[2])
    rest = [each.replace(":8000/", f":{server.server_address[1]}/") for each in rest]
    assert python == "python"
    done = subprocess.run([sys.executable, *rest], check=False, capture_output=True)
    assert bool(done.returncode) == bool(code)
    assert asked == ["/readyz"]
    server.server_close()


def test_the_composition_refers_to_what_it_has():
    for service in SERVICES.values():
        assert set(service.get("depends_on", ())) <= set(SERVICES)
        for volume in service["volumes"]:
            assert volume.partition(":")[0] in COMPOSE["volumes"]
        for config in service.get("configs", ()):
            assert config["source"] in COMPOSE["configs"]
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:")
    healthy = [
        (name, wanted["condition"])
        for service in SERVICES.values()
        for name, wanted in service.get("depends_on", {}).items()
    ]
    for name, condition in healthy:
        if condition == "service_healthy":
            assert "healthcheck" in SERVICES[name]


def test_the_composition_starts_commands_that_take_their_options():
    assert_runs(SERVICES["service"]["command"])
    assert_are_settings(SERVICES["service"]["environment"])
    for name in ("service", "mlflow"):
        assert SERVICES[name]["read_only"] is True
        assert SERVICES[name]["cap_drop"] == ["ALL"]


def test_the_registry_is_started_with_options_that_mlflow_has():
    from mlflow.cli import server
    from mlflow.environment_variables import MLFLOW_SERVER_ENABLE_JOB_EXECUTION

    registry = SERVICES["mlflow"]
    assert (registry["entrypoint"], registry["command"][0]) == (["mlflow"], "server")
    known = {option for parameter in server.params for option in parameter.opts}
    for word in registry["command"][1:]:
        assert word.partition("=")[0] in known
    variables = {parameter.envvar for parameter in server.params}
    variables.add(MLFLOW_SERVER_ENABLE_JOB_EXECUTION.name)
    assert set(registry["environment"]) <= variables
    uri = SERVICES["service"]["environment"]["MLFLOW_TRACKING_URI"]
    (hosts,) = (w for w in registry["command"] if w.startswith("--allowed-hosts="))
    assert uri.removeprefix("http://") in hosts.partition("=")[2].split(",")


# --- alerts ---


def rules():
    groups = yaml.safe_load((ROOT / "docs/alerts.yml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_every_alert_has_a_section_that_its_runbook_names():
    sections = re.findall(r"^### (Leadqual\w+)$", OPERATIONS, re.M)
    assert sections == [rule["alert"] for rule in rules()]
    for rule in rules():
        assert rule["annotations"]["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in {"page", "ticket"}


def test_alerts_ask_for_metrics_that_the_service_has(sqlite_url):
    from serving.served_model import Supply

    with crm(sqlite_url) as service:
        service.slot.supply = Supply()
        service.app.state.pulse.count(service.now_us)
        service.get("/livez")
        found = service.get("/metrics").text
    exposed = set(re.findall(r"^([a-z_]+)[ {]", found, re.M))
    undecided = {"leadqual_last_event_age_seconds", "leadqual_event_lag_seconds"}
    for rule in rules():
        wanted = set(re.findall(r"leadqual_[a-z_]+", rule["expr"]))
        assert wanted <= exposed | undecided, rule["alert"]


# --- what the page has people type ---


def blocks():
    return re.findall(r"```sh\n(.*?)```", OPERATIONS, re.S)


def test_commands_of_the_page_are_shell_and_their_options_exist():
    for line in "\n".join(blocks()).splitlines():
        subprocess.run(["bash", "-n", "-c", line], check=True)
        found = re.search(r"(?:venv/bin/leadqual|run --rm .*?service) (.*?)(?:#|$)", line)
        if found:
            words = shlex.split(found[1])
            if words[0] == "keys":
                assert "--scopes" in run("keys", words[1], "--help").out
            else:
                assert_runs(words)


def test_files_that_the_page_names_exist():
    for name in re.findall(r"`((?:tests|benchmarks)/[a-z_]+\.py)`", OPERATIONS):
        assert (ROOT / name).exists(), name
    assert shutil.which("bash")
