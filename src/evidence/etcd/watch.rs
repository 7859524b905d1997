//! The watch: says "look again", and proves nothing. A watch can be silent behind a partition for ever, which is why
//! the node reads once a second whatever the watch says.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::WatchResponse;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::endpoints::Endpoints;
use super::failed::describe;
use super::keys::Keys;
use crate::gate::evidence::EtcdReport;

/// Pause before a stream that ended is opened again.
const AGAIN: Duration = Duration::from_millis(500);

/// A stream is opened anew after this time, so that one which is silently dead does not stay so.
const LONGEST: Duration = Duration::from_secs(60);

/// Watches K, V and Patroni's configuration, for as long as somebody listens.
pub(super) async fn run(endpoints: Arc<Endpoints>, keys: Arc<Keys>, reports: mpsc::UnboundedSender<EtcdReport>) {
    let names: Vec<_> = [&keys.leader].into_iter().chain(keys.own()).chain([&keys.config]).collect();
    // What changed before the stream stood is not told by it: its creation is a hint as well.
    let meaning = |message: &WatchResponse| {
        let is_news = message.created() || !message.events().is_empty();
        is_news.then_some(EtcdReport::Hint).into_iter().collect()
    };
    keep_watching(&endpoints, &names, &reports, meaning).await;
}

/// Watches keys, for as long as somebody listens, and reports what each message means.
pub(super) async fn keep_watching(
    endpoints: &Endpoints,
    names: &[&String],
    reports: &mpsc::UnboundedSender<EtcdReport>,
    meaning: impl Fn(&WatchResponse) -> Vec<EtcdReport>,
) {
    while !reports.is_closed() {
        tokio::select! {
            ended = timeout(LONGEST, watch(endpoints, names, reports, &meaning)) => {
                if let Ok(reason) = ended {
                    debug!(reason, "the watch ended");
                    sleep(AGAIN).await;
                }
            }
            // The member that the stream leads to stopped answering, and the stream may never say so.
            () = endpoints.moved() => {}
        }
    }
}

/// Watches until the stream ends; says why it did.
async fn watch(
    endpoints: &Endpoints,
    names: &[&String],
    reports: &mpsc::UnboundedSender<EtcdReport>,
    meaning: impl Fn(&WatchResponse) -> Vec<EtcdReport>,
) -> String {
    let limit = endpoints.timeout();
    let mut client = match endpoints.preferred().await {
        Ok(client) => client,
        Err(error) => return error,
    };
    let Some((first, others)) = names.split_first() else { return "there is nothing to watch".to_owned() };
    let mut stream = match timeout(limit, client.watch(first.as_str(), None)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return describe(&error),
        Err(_) => return format!("no stream within {limit:?}"),
    };
    for name in others {
        if let Err(error) = stream.watch(name.as_str(), None).await {
            return describe(&error);
        }
    }
    loop {
        match stream.message().await {
            // One that is refused is created and cancelled at once.
            Ok(Some(message)) if message.canceled() => return message.cancel_reason().to_owned(),
            Ok(Some(message)) => {
                for report in meaning(&message) {
                    if reports.send(report).is_err() {
                        return "nobody listens".to_owned();
                    }
                }
            }
            Ok(None) => return "etcd closed the stream".to_owned(),
            Err(error) => return describe(&error),
        }
    }
}
