# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""What the event loop waits with, compiled: the same as its twin, selector.py, which documents it."""

from selectors import EVENT_READ, EVENT_WRITE

from zvonim_sfu.net import selector

from libc.errno cimport EINTR, errno
from libc.math cimport ceil
from libc.stdint cimport int64_t, uint32_t
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec


cdef extern from "<sys/epoll.h>":
    ctypedef union epoll_data_t:
        int fd
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    uint32_t EPOLLIN
    uint32_t EPOLLOUT
    int epoll_wait(int epfd, epoll_event *events, int maxevents, int timeout) nogil


cdef enum:
    MAX_EVENTS = 64  # at once; the others come next time


class MediaSelector(selector.MediaSelector):
    def select(self, timeout=None):
        cdef epoll_event events[MAX_EVENTS]
        cdef dict readers = self.readers
        cdef list found = []
        cdef bint has_run = False
        cdef int fd = self.fileno(), count, i, wait_ms = -1
        cdef double left, end = 0
        if timeout is not None:
            left = max(<double>timeout, 0.0)
            end = _now() + left
            wait_ms = _milliseconds(left)
        while True:
            with nogil:
                count = epoll_wait(fd, events, MAX_EVENTS, wait_ms)
            if count < 0:
                if errno == EINTR:
                    return found  # a signal: its handler has its turn now
                raise OSError(errno, "epoll_wait failed")
            for i in range(count):
                reader = readers.get(events[i].data.fd)
                if reader is None:
                    key = self.get_map().get(events[i].data.fd)
                    if key is not None:
                        found.append((key, _mask(events[i].events) & key.events))
                elif reader():
                    has_run = True
            if found or has_run or wait_ms == 0:
                return found
            if wait_ms > 0:
                left = end - _now()
                if left <= 0:
                    return found
                wait_ms = _milliseconds(left)


cdef inline int _milliseconds(double seconds) noexcept nogil:
    # Rounded up, as by EpollSelector: to wake up early would be to wait again.
    return <int>min(ceil(seconds * 1e3), 1e9)


cdef inline int _mask(uint32_t events) noexcept:
    # Errors and hang-ups are told to readers and writers alike.
    cdef int mask = 0
    if events & ~EPOLLIN:
        mask |= EVENT_WRITE
    if events & ~EPOLLOUT:
        mask |= EVENT_READ
    return mask


cdef double _now() noexcept nogil:
    # time.monotonic()
    cdef timespec at
    clock_gettime(CLOCK_MONOTONIC, &at)
    return <double>(<int64_t>at.tv_sec * 1_000_000_000 + at.tv_nsec) / 1e9
