// SPDX-License-Identifier: MIT
//! Two publish-subscribe services, one each way; for sleeping an event service beside each.

use std::error::Error;
use std::fs;
use std::time::{Duration, Instant};

use iceoryx2::port::listener::Listener;
use iceoryx2::port::notifier::Notifier;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::*;
use iceoryx2::sample::Sample;
use iceoryx2::sample_mut::SampleMut;
use iceoryx2::service::port_factory::{event, publish_subscribe};

use crate::Options;

pub type Result<T> = std::result::Result<T, Box<dyn Error>>;
pub type Message = Sample<ipc::Service, [u8], ()>;
pub type Loan = SampleMut<ipc::Service, [u8], ()>;

type Topic = publish_subscribe::PortFactory<ipc::Service, [u8], ()>;
type Bell = event::PortFactory<ipc::Service>;

const PATIENCE: Duration = Duration::from_secs(20);

/// The listener of 0.10.0 can sleep through an event and then never hears another one: it empties
/// its socket while the notifier is between sending and noting that it has sent. Waiting with a
/// limit makes the same system calls and gets it going again.
const LISTEN: Duration = Duration::from_millis(10);
const LINE: usize = 64;

/// What one side holds. Fields are dropped in this order: ports, services, node.
pub struct Link {
    publisher: Publisher<ipc::Service, [u8], ()>,
    subscriber: Subscriber<ipc::Service, [u8], ()>,
    notifier: Option<Notifier<ipc::Service>>,
    listener: Option<Listener<ipc::Service>>,
    services: Services,
    _node: Node<ipc::Service>,
}

struct Services {
    sent: Topic,
    received: Topic,
    rung: Option<Bell>,
    heard: Option<Bell>,
}

impl Link {
    pub fn open(options: &Options) -> Result<Link> {
        let node = open_node(options)?;
        let (to, from) = match options.ping {
            true => ("ping", "pong"),
            false => ("pong", "ping"),
        };
        let bell = |name: &str| -> Result<Option<Bell>> {
            Ok(match options.sleep {
                true => Some(open_bell(&node, name)?),
                false => None,
            })
        };
        let services = Services {
            sent: open_topic(&node, options, to)?,
            received: open_topic(&node, options, from)?,
            rung: bell(to)?,
            heard: bell(from)?,
        };
        let link = Link {
            publisher: services
                .sent
                .publisher_builder()
                .initial_max_slice_len(options.size)
                .max_loaned_samples(1)
                .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
                .create()?,
            subscriber: services.received.subscriber_builder().create()?,
            notifier: match &services.rung {
                Some(bell) => Some(bell.notifier_builder().create()?),
                None => None,
            },
            listener: match &services.heard {
                Some(bell) => Some(bell.listener_builder().create()?),
                None => None,
            },
            services,
            _node: node,
        };
        link.wait_for_other_side()?;
        link.settle()?;
        Ok(link)
    }

    /// Ports that are listed may still be without a connection, and a message is then delivered to
    /// nobody: each side says hello until it is heard, and hears the other one.
    fn wait_for_other_side(&self) -> Result<()> {
        let start = Instant::now();
        let mut heard = false;
        let mut said = false;

        while !(heard && said) {
            if start.elapsed() > PATIENCE {
                return Err("the other side did not come within 20 s".into());
            }
            said = said || self.services.complete() && self.loan(1)?.send()? == 1;
            heard = heard || self.subscriber.receive()?.is_some();
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Two messages each way with their events: after the second one the other side has opened all
    /// that is ours, for its first one's event is through. Then no name is needed any more.
    fn settle(&self) -> Result<()> {
        for _ in 0..2 {
            self.send(self.loan(1)?)?;
            self.receive()?;
        }
        Ok(())
    }

    /// Memory of the service for a message of `len` bytes, as its last user left it.
    #[inline]
    pub fn loan(&self, len: usize) -> Result<Loan> {
        let loan = self.publisher.loan_slice_uninit(len)?;
        // SAFETY: any bytes are valid u8; the memory is mapped and was written by the system.
        Ok(unsafe { loan.assume_init() })
    }

    /// Blocks while the other side's buffer is full, which is iceoryx2's own waiting.
    #[inline]
    pub fn send(&self, loan: Loan) -> Result<()> {
        if loan.send()? != 1 {
            return Err("a message had no receiver".into());
        }
        if let Some(notifier) = &self.notifier {
            notifier.notify()?;
        }
        Ok(())
    }

    /// The next message: polled for, or slept for when nothing is there yet.
    #[inline]
    pub fn receive(&self) -> Result<Message> {
        loop {
            if let Some(message) = self.subscriber.receive()? {
                return Ok(message);
            }
            match &self.listener {
                Some(listener) => {
                    listener.timed_wait(|_| {}, LISTEN)?;
                }
                None => std::hint::spin_loop(),
            }
        }
    }
}

impl Services {
    fn complete(&self) -> bool {
        fn connected(topic: &Topic) -> bool {
            let ports = topic.dynamic_config();
            ports.number_of_publishers() == 1 && ports.number_of_subscribers() == 1
        }
        fn attended(bell: &Option<Bell>) -> bool {
            bell.as_ref().is_none_or(|bell| {
                let ports = bell.dynamic_config();
                ports.number_of_notifiers() == 1 && ports.number_of_listeners() == 1
            })
        }
        connected(&self.sent)
            && connected(&self.received)
            && attended(&self.rung)
            && attended(&self.heard)
    }
}

/// The node's files lie in the run's directory. Shared memory cannot: it is told by its prefix.
fn open_node(options: &Options) -> Result<Node<ipc::Service>> {
    let mut config = Config::default();
    config.global.set_root_path(&Path::new(options.dir.as_bytes())?);
    config.global.prefix = FileName::new(format!("{}_", options.base()).as_bytes())?;
    Ok(NodeBuilder::new()
        .config(&config)
        .signal_handling_mode(SignalHandlingMode::Disabled)
        .create::<ipc::Service>()?)
}

fn open_topic(node: &Node<ipc::Service>, options: &Options, name: &str) -> Result<Topic> {
    patiently(|| {
        node.service_builder(&name.try_into()?)
            .publish_subscribe::<[u8]>()
            .payload_alignment(Alignment::new(LINE).ok_or("bad alignment")?)
            .max_publishers(1)
            .max_subscribers(1)
            .max_nodes(2)
            .history_size(0)
            .subscriber_max_buffer_size(options.slots)
            .subscriber_max_borrowed_samples(1)
            .enable_safe_overflow(false)
            .open_or_create()
            .map_err(|e| format!("service {name}: {e}").into())
    })
}

fn open_bell(node: &Node<ipc::Service>, name: &str) -> Result<Bell> {
    patiently(|| {
        node.service_builder(&name.try_into()?)
            .event()
            .max_notifiers(1)
            .max_listeners(1)
            .max_nodes(2)
            .event_id_max_value(0)
            .open_or_create()
            .map_err(|e| format!("event service {name}: {e}").into())
    })
}

/// Two processes that create the same service at once can be in each other's way for a moment.
fn patiently<T>(mut open: impl FnMut() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    loop {
        match open() {
            Err(_) if start.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(5)),
            result => return result,
        }
    }
}

/// Removes the run's names in /dev/shm, which a killed process would leave. What they name stays
/// with those who have it open.
pub fn forget_names(options: &Options) {
    let prefix = format!("{}_", options.base());
    let Ok(entries) = fs::read_dir("/dev/shm") else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
