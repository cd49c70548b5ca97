// SPDX-License-Identifier: MIT
//! iceoryx2 as a peer program of sluice-perf: one process of a measured pair.

mod link;
mod ticks;

use std::io::{BufRead, Write};
use std::process::ExitCode;

use iceoryx2::prelude::{set_log_level, LogLevel};

use link::{Link, Result};

const WORD: usize = 8;
const LINE: usize = 64;
const SIZE_MAX: usize = 1 << 20;

const PR_SET_PDEATHSIG: i32 = 1;
const SIGKILL: u64 = 9;

extern "C" {
    fn prctl(option: i32, ...) -> i32;
}

pub struct Options {
    pub ping: bool,
    pub sleep: bool,
    pub size: usize,
    pub slots: usize,
    pub dir: String,
}

impl Options {
    /// The unique name of this run.
    pub fn base(&self) -> &str {
        self.dir.rsplit('/').find(|part| !part.is_empty()).unwrap_or("")
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Options> {
    let (mut ping, mut sleep, mut size, mut slots, mut dir) = (None, None, 0, 0, String::new());

    while let Some(name) = words.next() {
        let value = words.next().ok_or(format!("{name} needs a value"))?;
        match (name.as_str(), value.as_str()) {
            ("--side", "ping" | "pong") => ping = Some(value == "ping"),
            ("--mode", "spin" | "sleep") => sleep = Some(value == "sleep"),
            ("--size", _) => size = value.parse()?,
            ("--slots", _) => slots = value.parse()?,
            ("--dir", _) => dir = value,
            _ => return Err(format!("unknown option {name} {value}").into()),
        }
    }
    if !(WORD..=SIZE_MAX).contains(&size) || slots < 1 {
        return Err("--size or --slots is missing or wrong".into());
    }
    if !std::path::Path::new(&dir).is_dir() {
        return Err("--dir is no directory".into());
    }
    Ok(Options {
        ping: ping.ok_or("--side is needed")?,
        sleep: sleep.ok_or("--mode is needed")?,
        size,
        slots,
        dir,
    })
}

/// A message carries its number at both ends, so that the whole of it is seen to arrive.
#[inline]
fn stamp(data: &mut [u8], number: u64) {
    let last = data.len() - WORD;
    data[last..].copy_from_slice(&number.to_le_bytes());
    data[..WORD].copy_from_slice(&number.to_le_bytes());
}

#[inline]
fn word(data: &[u8], at: usize) -> u64 {
    let mut bytes = [0; WORD];
    bytes.copy_from_slice(&data[at..at + WORD]);
    u64::from_le_bytes(bytes)
}

#[inline]
fn check(data: &[u8], size: usize, number: u64) -> Result<()> {
    if data.len() != size || word(data, 0) != number || word(data, size - WORD) != number {
        return Err(format!("message {number} did not arrive whole and in order").into());
    }
    Ok(())
}

/// `n` round trips; the end of one is the start of the next, so the clock is read once each. The
/// memory of the next message is taken while the present one is under way, as iceoryx2's own
/// benchmark does.
fn timed(
    link: &Link,
    size: usize,
    n: u64,
    write: impl Fn(&mut [u8], u64),
    answer_size: usize,
) -> Result<Vec<u64>> {
    let mut samples = Vec::with_capacity(n as usize);
    let mut loan = link.loan(size)?;
    let mut begin = ticks::now();

    for i in 0..n {
        write(loan.payload_mut(), i);
        link.send(loan)?;
        loan = link.loan(size)?;
        check(link.receive()?.payload(), answer_size, i)?;
        let end = ticks::now();
        samples.push(end - begin);
        begin = end;
    }
    Ok(samples.into_iter().map(ticks::to_nanos).collect())
}

fn ping_round(link: &Link, size: usize, n: u64) -> Result<Vec<u64>> {
    timed(link, size, n, stamp, size)
}

fn pong_round(link: &Link, size: usize, n: u64) -> Result<Vec<u64>> {
    for _ in 0..n {
        let mut loan = link.loan(size)?;
        let message = link.receive()?;
        if message.payload().len() != size {
            return Err("a message did not arrive whole".into());
        }
        loan.payload_mut().copy_from_slice(message.payload());
        link.send(loan)?;
    }
    Ok(vec![0])
}

fn ping_flow(link: &Link, size: usize, n: u64) -> Result<Vec<u64>> {
    let begin = ticks::now();

    for i in 0..n {
        let mut loan = link.loan(size)?;
        stamp(loan.payload_mut(), i);
        link.send(loan)?;
    }
    Ok(vec![ticks::to_nanos(ticks::now() - begin)])
}

fn pong_flow(link: &Link, size: usize, n: u64) -> Result<Vec<u64>> {
    let mut begin = None;

    for i in 0..n {
        let message = link.receive()?;
        begin.get_or_insert_with(ticks::now);
        check(message.payload(), size, i)?;
    }
    Ok(vec![begin.map_or(0, |begin| ticks::to_nanos(ticks::now() - begin))])
}

fn ping_payload(link: &Link, size: usize, n: u64) -> Result<Vec<u64>> {
    let fill = |data: &mut [u8], i: u64| {
        for word in data.chunks_exact_mut(WORD) {
            word.copy_from_slice(&(i + 1).to_le_bytes());
        }
    };
    timed(link, size, n, fill, WORD)
}

fn pong_payload(link: &Link, size: usize, n: u64) -> Result<Vec<u64>> {
    for i in 0..n {
        let mut loan = link.loan(WORD)?;
        let message = link.receive()?;
        let data = message.payload();
        let lines = || (0..=size - WORD).step_by(LINE);
        let sum = lines().fold(0u64, |sum, at| sum.wrapping_add(word(data, at)));
        if data.len() != size || sum != (i + 1).wrapping_mul(lines().count() as u64) {
            return Err(format!("payload {i} is not what was written").into());
        }
        stamp(loan.payload_mut(), i);
        link.send(loan)?;
    }
    Ok(vec![0])
}

fn obey(link: &Link, options: &Options, command: &str) -> Result<Vec<u64>> {
    let (work, n) = command.split_once(' ').ok_or(format!("bad command: {command}"))?;
    let n = n.trim().parse()?;

    match (work, options.ping) {
        ("round", true) => ping_round(link, options.size, n),
        ("round", false) => pong_round(link, options.size, n),
        ("flow", true) => ping_flow(link, options.size, n),
        ("flow", false) => pong_flow(link, options.size, n),
        ("payload", true) => ping_payload(link, options.size, n),
        ("payload", false) => pong_payload(link, options.size, n),
        _ => Err(format!("unknown command: {command}").into()),
    }
}

fn reply(numbers: &[u64]) -> Result<()> {
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    let mut out = std::io::stdout().lock();

    out.write_all(&bytes)?;
    Ok(out.flush()?)
}

fn serve(options: &Options) -> Result<()> {
    let link = Link::open(options)?;

    link::forget_names(options);
    reply(&[0])?;
    for line in std::io::stdin().lock().lines() {
        reply(&obey(&link, options, &line?)?)?;
    }
    Ok(())
}

fn run() -> Result<()> {
    let options = parse(std::env::args().skip(1))?;

    // Who spins for a message would do so for ever if the coordinator were killed.
    // SAFETY: it changes nothing but what happens when our parent ends.
    unsafe { prctl(PR_SET_PDEATHSIG, SIGKILL) };
    let result = serve(&options);

    // Of a node that found nobody, one is left.
    link::forget_names(&options);
    result
}

fn main() -> ExitCode {
    set_log_level(LogLevel::Fatal);
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("iceoryx2: {error}");
            ExitCode::FAILURE
        }
    }
}
