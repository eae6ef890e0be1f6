"""A program that calls as fast as it can: `calling.py PORT KEY CALLERS SECONDS get|create`.

Prints how many calls were done and their 99th percentile in milliseconds.
"""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from portal.oauth.v1 import provider_pb2 as pb
from portal.oauth.v1.provider_pb2_grpc import ProviderServiceStub

_PROVIDER = pb.Provider(name="x", type=pb.PROVIDER_TYPE_OTHER, well_known_uri="https://idp.test/x")


def _call(port: int, key: str, seconds: float, kind: str) -> list[float]:
    options = [("grpc.use_local_subchannel_pool", 1)]
    took = []
    with grpc.insecure_channel(f"127.0.0.1:{port}", options) as channel:
        stub: Any = ProviderServiceStub(channel)
        end = time.perf_counter() + seconds
        while (begin := time.perf_counter()) < end:
            headers = (("authorization", key),)
            if kind == "get":
                stub.GetProvider(pb.GetProviderRequest(id=1), metadata=headers)
            else:
                stub.CreateProvider(pb.CreateProviderRequest(provider=_PROVIDER), metadata=headers)
            took.append(time.perf_counter() - begin)
    return took


def main() -> None:
    port, key, callers, seconds, kind = sys.argv[1:]
    with ThreadPoolExecutor(int(callers)) as pool:
        calls = [
            pool.submit(_call, int(port), key, float(seconds), kind) for _ in range(int(callers))
        ]
    took = sorted(t for call in calls for t in call.result())
    sys.stdout.write(f"{len(took)} {took[int(len(took) * 0.99)] * 1000:.3f}\n")


if __name__ == "__main__":
    main()
