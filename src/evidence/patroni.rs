//! Patroni's REST API, asked only while the node wants it: is its failsafe mode active, and does it run the primary?

use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

use crate::clock;
use crate::gate::evidence::{PatroniReport, PatroniState};

/// Pause between the beginnings of two questions: one may fail without the VIP leaving for it.
const EVERY: Duration = Duration::from_millis(500);

/// How long an answer may take. Patroni asks its PostgreSQL before it answers.
const LIMIT: Duration = Duration::from_secs(1);

/// The longest answer that is read; Patroni's own has less than 1 KiB.
const LONGEST: usize = 64 * 1024;

/// Whose answer is awaited.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `[patroni] scope`.
    pub scope: String,
    /// This node's member name.
    pub member: String,
}

/// Asks for as long as there is a URL, twice a second, until nobody listens. Has to be run within a
/// [`tokio::task::LocalSet`].
pub async fn run(settings: Settings, mut url: watch::Receiver<Option<String>>, reports: mpsc::Sender<PatroniReport>) {
    loop {
        let wanted = url.borrow_and_update().clone();
        let asked = clock::now();
        if let Some(wanted) = wanted {
            let late = |_| Err(format!("{wanted}: no answer within {LIMIT:?}"));
            let answer = timeout(LIMIT, ask(&wanted)).await.unwrap_or_else(late);
            let answer = answer.and_then(|body| parse(&body, &settings));
            if reports.send(PatroniReport { asked, answer }).await.is_err() {
                return;
            }
        } else if url.changed().await.is_err() {
            return;
        } else {
            continue;
        }
        tokio::select! {
            () = sleep(EVERY.saturating_sub(clock::now().since(asked))) => {}
            changed = url.changed() => if changed.is_err() { return },
        }
    }
}

/// One GET on a connection of its own. Has to be run within a [`tokio::task::LocalSet`].
pub(crate) async fn ask(url: &str) -> Result<Bytes, String> {
    get(url, LONGEST).await
}

/// The same for an answer of up to so many bytes.
pub(crate) async fn get(url: &str, longest: usize) -> Result<Bytes, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{url}: {error}");
    let uri: Uri = url.parse().map_err(|error| failed(&error))?;
    let authority = uri.authority().filter(|_| uri.scheme_str() == Some("http"));
    let authority = authority.ok_or_else(|| failed(&"only http:// is available in this version"))?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, authority.port_u16().unwrap_or(80))).await.map_err(|e| failed(&e))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| failed(&e))?;
    // It ends with the sender; what ends it early is seen as the request's own error.
    spawn_local(connection);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path).header(HOST, authority.as_str()).body(Empty::<Bytes>::new());
    let response = sender.send_request(request.map_err(|e| failed(&e))?).await.map_err(|e| failed(&e))?;
    let body = Limited::new(response.into_body(), longest).collect().await.map_err(|e| failed(&e))?;
    Ok(body.to_bytes())
}

/// `GET /patroni`, as far as it is read. Patroni leaves out what does not apply.
#[derive(Deserialize)]
struct Answer {
    state: String,
    role: String,
    #[serde(default)]
    failsafe_mode_is_active: bool,
    #[serde(default)]
    patroni: Instance,
}

/// Who answers.
#[derive(Default, Deserialize)]
struct Instance {
    scope: Option<String>,
    /// Since Patroni 3.3.
    name: Option<String>,
}

/// What an answer means.
///
/// # Errors
/// If it is none, or another member's.
pub fn parse(body: &[u8], settings: &Settings) -> Result<PatroniState, String> {
    let answer: Answer = serde_json::from_slice(body).map_err(|error| format!("Patroni's answer: {error}"))?;
    let Instance { scope, name } = answer.patroni;
    let is_other = |theirs: Option<&String>, ours: &String| theirs.is_some_and(|theirs| theirs != ours);
    if is_other(scope.as_ref(), &settings.scope) || is_other(name.as_ref(), &settings.member) {
        return Err(format!(
            "the Patroni that answers is {} of {}, not this member",
            name.unwrap_or_default(),
            scope.unwrap_or_default()
        ));
    }
    // "master" until Patroni 4. "running": it has just asked its PostgreSQL, and does not speak from memory.
    let primary = matches!(answer.role.as_str(), "primary" | "master") && answer.state == "running";
    Ok(PatroniState { primary, failsafe_active: answer.failsafe_mode_is_active })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<PatroniState, String> {
        parse(body.as_bytes(), &Settings { scope: "odoo".to_owned(), member: "db1".to_owned() })
    }

    #[test]
    fn what_patroni_says_of_itself() {
        let of_db1 = r#""patroni":{"version":"4.1.4","scope":"odoo","name":"db1"}"#;
        let vouches = PatroniState { primary: true, failsafe_active: true };
        let active = format!(r#"{{"state":"running","role":"primary","failsafe_mode_is_active":true,{of_db1}}}"#);
        assert_eq!(read(&active), Ok(vouches));
        let older = r#"{"state":"running","role":"master","failsafe_mode_is_active":true,"patroni":{"scope":"odoo"}}"#;
        assert_eq!(read(older), Ok(vouches));
        let calm = format!(r#"{{"state":"running","role":"primary",{of_db1}}}"#);
        assert_eq!(read(&calm), Ok(PatroniState { primary: true, failsafe_active: false }));
        for role_and_state in [("replica", "running"), ("primary", "stopping"), ("primary", "unknown")] {
            let (role, state) = role_and_state;
            let body = format!(r#"{{"state":"{state}","role":"{role}","failsafe_mode_is_active":true}}"#);
            assert_eq!(read(&body), Ok(PatroniState { primary: false, failsafe_active: true }));
        }
    }

    #[test]
    fn another_patroni_does_not_vouch_for_this_member() {
        for patroni in [r#"{"scope":"odoo","name":"db2"}"#, r#"{"scope":"crm","name":"db1"}"#, r#"{"scope":"crm"}"#] {
            let body =
                format!(r#"{{"state":"running","role":"primary","failsafe_mode_is_active":true,"patroni":{patroni}}}"#);
            assert!(read(&body).is_err(), "{patroni}");
        }
        for nonsense in ["", "nonsense", "[]", "{}", r#"{"state":1,"role":"primary"}"#] {
            assert!(read(nonsense).is_err(), "{nonsense}");
        }
    }
}
