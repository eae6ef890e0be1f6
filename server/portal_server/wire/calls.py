"""Hands the domain's `Call` to a servicer's method, with its gRPC context."""

from typing import Any

import grpc

from portal_server.domain.calls import Call


def attach(context: grpc.ServicerContext, call: Call) -> None:
    """Make this the call of a context."""
    holder: Any = context
    holder.portal_call = call


def call_of(context: grpc.ServicerContext) -> Call:
    """The call of a context."""
    holder: Any = context
    call: Call = holder.portal_call
    return call
