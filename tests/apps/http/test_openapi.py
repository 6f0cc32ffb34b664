"""The API fuzzed from its own OpenAPI description: every answer is one that it documents."""

from __future__ import annotations

from typing import Any

import pytest

schemathesis = pytest.importorskip("schemathesis")

from hypothesis import HealthCheck, Phase, given, settings  # noqa: E402
from hypothesis.errors import Unsatisfiable  # noqa: E402
from schemathesis import GenerationMode  # noqa: E402
from schemathesis.checks import positive_data_acceptance  # noqa: E402

NUM_EXAMPLES = 3  # of each operation, made to fit its description, and as many made not to
NUM_OPERATIONS = 17


def test_the_description_is_whole(stub: Any) -> None:
    description = stub.client.get("/api/openapi.json").json()
    assert description["openapi"].startswith("3.")
    operations = [
        (path, method, one)
        for path, item in description["paths"].items()
        for method, one in item.items()
    ]
    assert len(operations) == NUM_OPERATIONS
    for path, method, one in operations:
        assert one["description"], path
        for status, answer in one["responses"].items():
            if int(status) >= 400:
                assert list(answer["content"]) == ["application/problem+json"], (path, method)
    submit = description["paths"]["/api/jobs"]["post"]
    assert {"400", "413", "415", "422", "429", "503"} <= set(submit["responses"])
    assert set(submit["requestBody"]["content"]) == {"multipart/form-data", "application/json"}


@pytest.mark.parametrize(
    "mode",
    [GenerationMode.POSITIVE, pytest.param(GenerationMode.NEGATIVE, marks=pytest.mark.slow)],
)
def test_no_request_gets_an_answer_that_is_not_described(stub: Any, mode: Any) -> None:
    """Of requests that fit their schema, some are refused for what no schema can say."""
    job = stub.client.post("/api/jobs", json={"example": "bracket", "budget_s": 0}).json()["id"]
    stub.wait(job)
    schema = schemathesis.openapi.from_url(f"{stub.url}/api/openapi.json")
    statuses: dict[str, set[int]] = {}
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path.endswith("/events"):
            continue  # answers without an end; test_service follows them
        seen = statuses.setdefault(operation.label, set())
        try:
            strategy = operation.as_strategy(generation_mode=mode)
            fuzz(strategy, job if "delete" not in operation.label.lower() else "", seen)
        except (
            schemathesis.errors.InvalidSchema,
            Unsatisfiable,
        ) as error:  # nothing in it can be wrong
            assert mode is GenerationMode.NEGATIVE, error
    assert len(statuses) == NUM_OPERATIONS - 1
    assert max(max(codes, default=0) for codes in statuses.values()) < 500, statuses
    for waiting in [one for one in stub.service.store if not one.is_final]:
        stub.client.delete(f"/api/jobs/{waiting.id}")


def fuzz(strategy: Any, job: str, seen: set[int]) -> None:
    """Send what the strategy draws, now and then about a job that there is."""

    @settings(
        max_examples=NUM_EXAMPLES, deadline=None, database=None, derandomize=True,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=strategy)
    def send(case: Any) -> None:
        if job and "job_id" in (case.path_parameters or {}) and len(str(case)) % 3:
            case.path_parameters["job_id"] = job
        response = case.call(timeout=60)
        seen.add(response.status_code)
        case.validate_response(response, excluded_checks=[positive_data_acceptance])

    send()
