// SPDX-License-Identifier: MIT

/**
 * The clock that sluice-perf and the other peers use, from libsluice: the cycle counter. Where a
 * system call costs microseconds (a kernel as a process), System.nanoTime() would be most of a sample.
 */
final class Ticks {
    static {
        System.loadLibrary("ticks");
    }

    private Ticks() {
    }

    static native long now();

    static native long toNanos(long ticks);
}
