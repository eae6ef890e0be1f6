"""References: gRPC servers with a method that only returns its message.

The default has the portal's process settings and one core: no other method of such a server can be
faster. `--plain` is a server as in grpcio's guide.
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc

from bench.workloads import EMPTY_METHOD
from portal.oauth.v1 import client_type_pb2 as pb
from portal_server.run.listeners import OPTIONS
from portal_server.run.process import freeze_gc, schedule
from portal_server.run.settings import Settings

_PLAIN_THREADS = 10


def _same(
    request: pb.GetClientTypeRequest, _context: grpc.ServicerContext
) -> pb.GetClientTypeRequest:
    return request


def main() -> None:
    """Serve on the port of the first argument until killed."""
    port, *plain = sys.argv[1:]
    if plain:
        server = grpc.server(ThreadPoolExecutor(_PLAIN_THREADS))
    else:
        settings = Settings()
        schedule(os.getpid(), one_core=settings.one_core)
        server = grpc.server(ThreadPoolExecutor(settings.threads, "call"), options=OPTIONS)
    _, service, method = EMPTY_METHOD.split("/")
    handler = grpc.unary_unary_rpc_method_handler(
        _same, pb.GetClientTypeRequest.FromString, pb.GetClientTypeRequest.SerializeToString
    )
    server.add_registered_method_handlers(service, {method: handler})
    server.add_insecure_port(f"127.0.0.1:{port}")
    if not plain:
        freeze_gc()
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
