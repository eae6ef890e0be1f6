"""Which role a method needs: a read needs any valid API key, a write the role that may write."""

from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import MethodOptions


def is_write(path: str, pool: descriptor_pool.DescriptorPool | None = None) -> bool:
    """Whether the method with this path (`/package.Service/Method`) may change something.

    Only methods that declare `idempotency_level = NO_SIDE_EFFECTS` are reads. A method
    without a level, or without a descriptor, is a write: it must not be open to viewers.
    """
    symbol = path.lstrip("/").replace("/", ".")
    try:
        method = (pool or descriptor_pool.Default()).FindMethodByName(symbol)
    except KeyError:
        return True
    return bool(method.GetOptions().idempotency_level != MethodOptions.NO_SIDE_EFFECTS)
