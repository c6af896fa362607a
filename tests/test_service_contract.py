"""The whole service against its OpenAPI document: nothing is answered that is not promised."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.scorers import AS_OF_US, json_leads
from tests.states import Crm, put

CHECKS = [
    content_type_conformance,
    not_a_server_error,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
]
"""Not those that want each wrong item refused with its request: an item has its own result."""
EXAMPLES, STEPS, WALKS = 25, 12, 8
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)


@pytest.fixture(scope="module")
def service(sqlite_template, tmp_path_factory):
    folder = tmp_path_factory.mktemp("contract")
    (folder / "leadqual.db").write_bytes(sqlite_template.read_bytes())
    opened = Crm(f"sqlite:///{folder / 'leadqual.db'}")
    put(opened, *json_leads(3, 5))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def document(service):
    return schemathesis.openapi.from_asgi("/openapi.json", service.app)


def operations(document):
    return [
        (method.upper(), path)
        for path, methods in document.raw_schema["paths"].items()
        for method in methods
        if path.startswith("/v1/")
    ]


def test_every_operation_answers_as_it_promises(service, document):
    found = operations(document)
    assert len(found) > 20
    head = {"Authorization": f"Bearer {service.token}"}
    for method, path in found:
        for mode in MODES:
            _try(document[path][method], mode, head)


def _try(operation, mode, head):
    answered = []

    @given(operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def keeps(case):
        answered.append(case.call_and_validate(checks=CHECKS, headers=head).status_code)

    try:
        keeps()
    except Unsatisfiable:  # nothing can be wrong in a request without parameters
        assert mode is GenerationMode.NEGATIVE
        return
    assert answered


def test_walks_through_the_service_keep_what_it_promises(service, document):
    walks = document.as_state_machine()

    class Walk(walks):  # type: ignore[valid-type, misc]
        def get_call_kwargs(self, case):
            return {"headers": {"Authorization": f"Bearer {service.token}"}}

        def validate_response(self, response, case, **_):
            case.validate_response(response, checks=CHECKS)

    Walk.run(
        settings=settings(
            max_examples=WALKS,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
    )
    assert service.now_us == AS_OF_US
