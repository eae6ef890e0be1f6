"""A program that calls: `calling.py PORT KEY CALLERS SECONDS get|create [PER_SECOND]`.

It calls as fast as it can, or PER_SECOND times a second. Prints how many calls were done, their
99th percentile in milliseconds, and how many were rejected because there were too many.
"""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from portal.oauth.v1 import provider_pb2 as pb
from portal.oauth.v1.provider_pb2_grpc import ProviderServiceStub

_PROVIDER = pb.Provider(name="x", type=pb.PROVIDER_TYPE_OTHER, well_known_uri="https://idp.test/x")


def _call(port: int, key: str, seconds: float, kind: str, pause: float) -> list[float]:
    """How long each call took; -1 for one that was rejected."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    took = []
    with grpc.insecure_channel(f"127.0.0.1:{port}", options) as channel:
        stub: Any = ProviderServiceStub(channel)
        end = time.perf_counter() + seconds
        while (begin := time.perf_counter()) < end:
            headers = (("authorization", key),)
            try:
                if kind == "get":
                    stub.GetProvider(pb.GetProviderRequest(id=1), metadata=headers)
                else:
                    request = pb.CreateProviderRequest(provider=_PROVIDER)
                    stub.CreateProvider(request, metadata=headers)
                took.append(time.perf_counter() - begin)
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                    raise
                took.append(-1.0)
            time.sleep(max(0.0, begin + pause - time.perf_counter()))
    return took


def main() -> None:
    port, key, callers, seconds, kind, *rate = sys.argv[1:]
    pause = int(callers) / float(rate[0]) if rate else 0.0
    with ThreadPoolExecutor(int(callers)) as pool:
        calls = [
            pool.submit(_call, int(port), key, float(seconds), kind, pause)
            for _ in range(int(callers))
        ]
    found = [t for call in calls for t in call.result()]
    took = sorted(t for t in found if t >= 0)
    rejected = len(found) - len(took)
    sys.stdout.write(f"{len(took)} {took[int(len(took) * 0.99)] * 1000:.3f} {rejected}\n")


if __name__ == "__main__":
    main()
