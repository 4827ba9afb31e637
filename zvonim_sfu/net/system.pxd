"""What the compiled kernel calls of the system (socket(7), udp(7)) and of libsrtp."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t

cdef extern from *:
    """
    #include <arpa/inet.h>
    #include <netinet/in.h>
    #include <netinet/udp.h>
    #include <sys/socket.h>
    #ifndef UDP_SEGMENT
    #define UDP_SEGMENT 103
    #endif
    """
    struct sockaddr_in:
        uint16_t sin_family
        uint16_t sin_port
        char sin_addr  # a struct, of which only the place is used; so is sin6_addr
    struct sockaddr_in6:
        uint16_t sin6_family
        uint16_t sin6_port
        uint32_t sin6_flowinfo
        char sin6_addr
        uint32_t sin6_scope_id
    struct iovec:
        void *iov_base
        size_t iov_len
    struct msghdr:
        void *msg_name
        unsigned int msg_namelen
        iovec *msg_iov
        size_t msg_iovlen
        void *msg_control
        size_t msg_controllen
        int msg_flags
    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    struct cmsghdr:
        size_t cmsg_len
        int cmsg_level
        int cmsg_type
    size_t CMSG_LEN(size_t) nogil
    void *CMSG_DATA(cmsghdr *) nogil
    uint16_t htons(uint16_t) nogil
    uint16_t ntohs(uint16_t) nogil
    uint32_t htonl(uint32_t) nogil
    uint32_t ntohl(uint32_t) nogil
    int C_AF_INET "AF_INET"
    int C_AF_INET6 "AF_INET6"
    int MSG_DONTWAIT
    int MSG_TRUNC
    int SOL_UDP
    int UDP_SEGMENT
    int sendmmsg(int, mmsghdr *, unsigned int, int) nogil
    int recvmmsg(int, mmsghdr *, unsigned int, int, void *) nogil

# srtp_protect and srtp_unprotect: 0 for success, and the size as it is then.
ctypedef int (*process_t)(void *session, void *packet, int *size) noexcept nogil

cdef unsigned int pack_address(address, int family, sockaddr_in6 *packed) except 0
cdef object unpack_address(const sockaddr_in6 *packed)
