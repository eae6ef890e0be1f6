"""The descriptor pool that gRPC reflection reads."""

from typing import cast

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor


def reflection_pool() -> descriptor_pool.DescriptorPool:
    """The default pool of descriptors, which finds methods as well.

    Reflection looks up the file of a symbol. A pool does that for every symbol except methods,
    for which `grpcurl describe portal.oauth.v1.ClientTypeService.CreateClientType` would fail.
    """
    return cast(descriptor_pool.DescriptorPool, _Pool())


class _Pool:
    """The methods of a pool that reflection uses."""

    def __init__(self) -> None:
        self._pool = descriptor_pool.Default()
        self.FindFileByName = self._pool.FindFileByName
        self.FindMessageTypeByName = self._pool.FindMessageTypeByName
        self.FindExtensionByNumber = self._pool.FindExtensionByNumber
        self.FindAllExtensions = self._pool.FindAllExtensions

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:  # noqa: N802
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            return self._pool.FindMethodByName(symbol).containing_service.file
