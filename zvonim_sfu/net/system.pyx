# cython: language_level=3
"""Socket addresses, from Python's form to the system's and back."""

from socket import AF_INET, inet_ntop, inet_pton
from socket import AF_INET6 as _AF_INET6

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.string cimport memcpy


cdef unsigned int pack_address(address, int family, sockaddr_in6 *packed) except 0:
    """Write the address that `socket.recvfrom` gave on a socket of this family; returns its size.

    Raises OSError if it is none.
    """
    cdef sockaddr_in *ipv4 = <sockaddr_in *>packed
    cdef bytes host = inet_pton(family, address[0])
    if family == C_AF_INET:
        ipv4.sin_family = C_AF_INET
        ipv4.sin_port = htons(address[1])
        memcpy(&ipv4.sin_addr, PyBytes_AS_STRING(host), 4)
        return sizeof(sockaddr_in)
    packed.sin6_family = C_AF_INET6
    packed.sin6_port = htons(address[1])
    packed.sin6_flowinfo = htonl(address[2])
    memcpy(&packed.sin6_addr, PyBytes_AS_STRING(host), 16)
    packed.sin6_scope_id = address[3]
    return sizeof(sockaddr_in6)


cdef object unpack_address(const sockaddr_in6 *packed):
    """Return an address as `socket.recvfrom` gives it."""
    cdef const sockaddr_in *ipv4 = <const sockaddr_in *>packed
    if packed.sin6_family == C_AF_INET:
        return inet_ntop(AF_INET, PyBytes_FromStringAndSize(<const char *>&ipv4.sin_addr, 4)), ntohs(ipv4.sin_port)
    host = inet_ntop(_AF_INET6, PyBytes_FromStringAndSize(<const char *>&packed.sin6_addr, 16))
    return host, ntohs(packed.sin6_port), ntohl(packed.sin6_flowinfo), packed.sin6_scope_id
