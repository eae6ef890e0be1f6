"""Reads what a native error says."""

import grpc
from google.rpc.error_details_pb2 import (
    BadRequest,
    ErrorInfo,
    RequestInfo,
    ResourceInfo,
    RetryInfo,
)
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status


class Rejection:
    """The status of a failed call and the details that we give."""

    def __init__(self, error: grpc.RpcError) -> None:
        assert isinstance(error, grpc.Call)
        status: Status | None = rpc_status.from_call(error)
        assert status is not None, error
        self.code: grpc.StatusCode = error.code()
        self.message: str = status.message
        self.violations: list[BadRequest.FieldViolation] = []
        self.resource: ResourceInfo = ResourceInfo()
        self.retry_delay: int | None = None
        info, retry, request = ErrorInfo(), RetryInfo(), RequestInfo()
        for detail in status.details:
            bad_request = BadRequest()
            if detail.Unpack(bad_request):
                self.violations.extend(bad_request.field_violations)
            detail.Unpack(self.resource)
            detail.Unpack(info)
            detail.Unpack(request)
            if detail.Unpack(retry):
                self.retry_delay = retry.retry_delay.ToSeconds()
        assert info.domain == "oauth-portal"
        self.trace_id: str = request.request_id
        self.reason: str = info.reason
        self.metadata: dict[str, str] = dict(info.metadata)

    @property
    def fields(self) -> list[str]:
        """The fields of the violations, in their order."""
        return [violation.field for violation in self.violations]
