"""The OpenAPI document against the application: what it promises is what is answered."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import (
    content_type_conformance,
    negative_data_rejection,
    not_a_server_error,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from serving.http.app import create_app
from serving.served_model import ModelSlot, ServedModel
from tests.scorers import AS_OF_US, small_scorer

CHECKS = [
    content_type_conformance,
    negative_data_rejection,
    not_a_server_error,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
]
"""Not the one that wants every body of the right shape to be taken: ids must differ, too."""


@pytest.fixture(scope="module")
def document():
    slot = ModelSlot(ServedModel.of(small_scorer(5)))
    app = create_app(slot, now_us=lambda: AS_OF_US)
    return schemathesis.openapi.from_asgi("/openapi.json", app)


@pytest.mark.parametrize("path", ["/v1/score", "/v1/model", "/livez", "/readyz", "/metrics"])
def test_what_is_promised_is_answered(document, path):
    _try(document, path, GenerationMode.POSITIVE)


def test_what_breaks_the_schema_is_refused(document):
    _try(document, "/v1/score", GenerationMode.NEGATIVE)


def _try(document, path, mode):
    operation = document[path]["POST" if path == "/v1/score" else "GET"]
    answered = []

    @given(operation.as_strategy(generation_mode=mode))
    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    def keeps(case):
        answered.append(case.call_and_validate(checks=CHECKS).status_code)

    keeps()
    assert answered
