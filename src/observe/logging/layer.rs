//! Where what the code says enters the log.

use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::entry::Entry;
use super::queue::Entries;

/// Takes what is said and puts it into the queue.
#[derive(Debug)]
pub(super) struct Lines(Entries);

impl Lines {
    pub(super) fn new(entries: Entries) -> Self {
        Self(entries)
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut entry = Entry::new(*metadata.level(), String::new());
        entry.place = Some(metadata.callsite());
        event.record(&mut entry);
        self.0.put(entry);
    }
}
