// SPDX-License-Identifier: MIT
//! The cycle counter, as sluice-perf and the other peers read it. Where a system call costs
//! microseconds (a kernel as a process), `Instant::now()` would be most of a sample.

use std::arch::x86_64::_rdtsc;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

const CALIBRATION: Duration = Duration::from_millis(50);

pub fn now() -> u64 {
    // SAFETY: every x86-64 processor has it.
    unsafe { _rdtsc() }
}

/// Length of an interval; the first call takes as long as the calibration.
pub fn to_nanos(ticks: u64) -> u64 {
    static NS_PER_TICK: OnceLock<f64> = OnceLock::new();
    let ratio = NS_PER_TICK.get_or_init(|| {
        let (start, first) = (Instant::now(), now());
        std::thread::sleep(CALIBRATION);
        let ticks = now() - first;
        start.elapsed().as_nanos() as f64 / ticks as f64
    });
    (ticks as f64 * ratio) as u64
}
