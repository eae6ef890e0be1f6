"""Creates a client type. Takes the key from PORTAL_KEY, the address from PORTAL_GRPC."""

import os

import grpc

from portal.oauth.v1 import client_type_pb2 as pb
from portal.oauth.v1.client_type_pb2_grpc import ClientTypeServiceStub

with grpc.insecure_channel(os.environ.get("PORTAL_GRPC", "localhost:50051")) as channel:
    client_type = ClientTypeServiceStub(channel).CreateClientType(
        pb.CreateClientTypeRequest(
            provider_id=1,
            client_type=pb.ClientType(
                name="Single-page application",
                response_types=[pb.RESPONSE_TYPE_CODE],
                grant_types=[pb.GRANT_TYPE_PKCE, pb.GRANT_TYPE_REFRESH_TOKEN],
            ),
        ),
        metadata=(("authorization", os.environ["PORTAL_KEY"]),),
        timeout=5,
    )
print(client_type)
