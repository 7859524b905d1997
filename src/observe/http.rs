//! HTTP, read-only: `/`, `/metrics`, `/status`, `/history`, `/healthz`, `/readyz`. Nothing is offered to other sites: no
//! answer has a header that would let their scripts read it.
//!
//! | path | 200 when | otherwise |
//! |---|---|---|
//! | `/` | always; the page for people | |
//! | `/metrics` | always; Prometheus' text format, or OpenMetrics for who asks for it | |
//! | `/status` | always; the same JSON as `pgvrrp status --json` | |
//! | `/history` | always; the moves that are remembered, in JSON | |
//! | `/healthz` | the protocol thread has run within 2 s | 503 |
//! | `/readyz` | as `/healthz`, and etcd and PostgreSQL have been asked successfully within 10 s | 503 with the reason |

use std::future::pending;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::{info, warn};

use super::bounded::Bounded;
use super::health::{is_alive, not_ready};
use super::{Observed, control, metrics, page};

/// Connections served at a time.
const CONNECTIONS: usize = 32;

/// The life of a connection. A scraper that keeps its own open makes a new one now and then.
const LONGEST: Duration = Duration::from_secs(60);

/// Pause before an address that could not be bound is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// For every answer: it is what it says it is, nobody keeps it, and no other site is told where a link was found.
const SAFE: [(HeaderName, &str); 4] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Serves for ever, where `listen` says. That the address cannot be bound never stops the VIP: it is said, and tried again.
pub async fn serve(mut listen: watch::Receiver<Option<SocketAddr>>, observed: Observed) {
    let app = app(observed);
    loop {
        let address = *listen.borrow_and_update();
        tokio::select! {
            () = serve_at(address, &app) => {}
            changed = listen.changed() => if changed.is_err() { return },
        }
    }
}

async fn serve_at(listen: Option<SocketAddr>, app: &Router) {
    let Some(listen) = listen else { return pending().await };
    let mut told = false;
    loop {
        match bind(listen).await {
            Ok(listener) => {
                info!(%listen, "HTTP");
                if let Err(error) = axum::serve(Bounded::new(listener, CONNECTIONS, LONGEST), app.clone()).await {
                    warn!(%listen, %error, "HTTP ended, starting it again");
                }
            }
            Err(error) if !told => {
                told = true;
                warn!(%listen, %error, "HTTP is not available ([http] listen); the VIP does not depend on it");
            }
            Err(_) => {}
        }
        tokio::time::sleep(AGAIN).await;
    }
}

pub(super) fn app(observed: Observed) -> Router {
    let policy = page::policy();
    let page = (header::CONTENT_SECURITY_POLICY, policy);
    Router::new()
        .route(
            "/",
            get(async move || ([page, (header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned())], page::HTML)),
        )
        .route("/history", get(serve_history))
        .route("/metrics", get(serve_metrics))
        .route("/status", get(serve_status))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .fallback(async || (StatusCode::NOT_FOUND, "pgvrrp: / /metrics /status /history /healthz /readyz\n"))
        .with_state(observed)
        .layer(map_response(async |mut answer: Response| {
            answer.headers_mut().extend(SAFE.map(|(name, value)| (name, HeaderValue::from_static(value))));
            answer
        }))
}

/// Where the kernel has no IPv6, "every address" means every IPv4 address.
async fn bind(listen: SocketAddr) -> io::Result<TcpListener> {
    match TcpListener::bind(listen).await {
        Err(error) if listen.ip() == Ipv6Addr::UNSPECIFIED && error.kind() != ErrorKind::AddrInUse => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, listen.port())).await
        }
        outcome => outcome,
    }
}

async fn serve_metrics(State(observed): State<Observed>, headers: HeaderMap) -> impl IntoResponse {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = metrics::Format::of(accept.unwrap_or_default());
    match metrics::render(Arc::new(observed.seen()), format) {
        Ok(text) => ([(header::CONTENT_TYPE, format.content_type())], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn serve_status(State(observed): State<Observed>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], control::json(&observed.seen()))
}

async fn serve_history(State(observed): State<Observed>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], observed.history.json())
}

async fn healthz(State(observed): State<Observed>) -> impl IntoResponse {
    answer(if is_alive(&observed.status.borrow()) { None } else { Some("the protocol thread is stuck".to_owned()) })
}

async fn readyz(State(observed): State<Observed>) -> impl IntoResponse {
    answer(not_ready(&observed.seen()))
}

fn answer(problem: Option<String>) -> impl IntoResponse {
    match problem {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(problem) => (StatusCode::SERVICE_UNAVAILABLE, format!("{problem}\n")),
    }
}
