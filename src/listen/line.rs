//! A frame in words, and for programs.

use std::fmt::Write;
use std::net::IpAddr;

use serde::Serialize;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use vrrp::wire::advert::ChecksumForm;
use vrrp::wire::heard::{Heard, Message};

/// What one line says.
pub(super) struct Line<'a> {
    pub(super) interface: &'a str,
    /// This host has sent it.
    pub(super) ours: bool,
    pub(super) heard: &'a Heard,
}

/// The line for programs. Keys that do not apply are null.
#[derive(Serialize)]
struct Json<'a> {
    time: String,
    interface: &'a str,
    ours: bool,
    mac: String,
    source: IpAddr,
    destination: IpAddr,
    ttl: u8,
    version: Option<u8>,
    r#type: Option<u8>,
    virtual_router_id: Option<u8>,
    priority: Option<u8>,
    interval_ms: Option<u128>,
    addresses: &'a [IpAddr],
    checksum: Option<&'static str>,
    authentication: Option<u8>,
    /// The label that the daemon's metric of discarded packets has.
    fault: Option<&'static str>,
    fault_text: Option<String>,
}

impl Line<'_> {
    /// For people, with a newline.
    pub(super) fn text(&self) -> String {
        let heard = self.heard;
        let mut line = format!("{} {}", now(), self.interface);
        let sender = if self.ours { " (this host)" } else { "" };
        let _ = write!(line, "  {}{sender} {} > {}", heard.source, mac(heard.mac), heard.destination);
        if heard.probe.is_some() {
            return line + "  a test by `pgvrrp doctor --peer`, which every router discards\n";
        }
        if let Some(message) = &heard.message {
            line += &words(message);
        }
        if let Some(fault) = &heard.fault {
            let _ = write!(line, "  WRONG: {fault}");
        }
        line.push('\n');
        line
    }

    /// For programs, with a newline.
    pub(super) fn json(&self) -> String {
        let heard = self.heard;
        let message = heard.message.as_ref();
        let json = Json {
            time: now(),
            interface: self.interface,
            ours: self.ours,
            mac: mac(heard.mac),
            source: heard.source,
            destination: heard.destination,
            ttl: heard.ttl,
            version: message.map(|message| message.version),
            r#type: message.map(|message| message.kind),
            virtual_router_id: message.map(|message| message.vrid),
            priority: message.map(|message| message.priority),
            interval_ms: message.map(|message| message.interval.as_millis()),
            addresses: message.map_or(&[], |message| &message.addresses),
            checksum: message.and_then(|message| message.checksum).map(|form| match form {
                ChecksumForm::Rfc9568 => "rfc9568",
                ChecksumForm::Rfc5798 => "rfc5798",
            }),
            authentication: message.and_then(|message| message.authentication),
            fault: heard.fault.as_ref().map(vrrp::wire::ipv4::Discard::label),
            fault_text: heard.fault.as_ref().map(ToString::to_string),
        };
        // Numbers, strings and lists: there is nothing that JSON could refuse.
        let mut line = serde_json::to_string(&json).unwrap_or_default();
        line.push('\n');
        line
    }
}

/// "VRRPv3 id 155, priority 255 (owner), every 1s: 10.0.20.155, checksum of RFC 9568"
fn words(message: &Message) -> String {
    let Message { version, kind, vrid, priority, interval, .. } = message;
    let meaning = match priority {
        0 => " (stops)",
        255 => " (owner)",
        _ => "",
    };
    let mut text = format!("  VRRPv{version}");
    if *kind != 1 {
        let _ = write!(text, " type {kind}");
    }
    let _ = write!(text, " id {vrid}, priority {priority}{meaning}, every {interval:?}: ");
    let addresses: Vec<_> = message.addresses.iter().map(ToString::to_string).collect();
    text += &if addresses.is_empty() { "no address".to_owned() } else { addresses.join(" ") };
    text += match message.checksum {
        Some(ChecksumForm::Rfc9568) => ", checksum of RFC 9568",
        Some(ChecksumForm::Rfc5798) => ", checksum with pseudo-header (RFC 5798)",
        None => "",
    };
    text += match message.authentication {
        None | Some(0) => "",
        Some(1) => ", with a password in clear text",
        Some(_) => ", authenticated",
    };
    text
}

fn mac(mac: [u8; 6]) -> String {
    let bytes: Vec<_> = mac.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(":")
}

/// As in the daemon's log: UTC, to the microsecond.
fn now() -> String {
    let mut text = String::new();
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use vrrp::wire::ipv4::Discard;

    use super::*;

    fn heard() -> Heard {
        let message = Message {
            version: 3,
            kind: 1,
            vrid: 155,
            priority: 255,
            interval: Duration::from_secs(1),
            addresses: vec![[10, 0, 20, 155].into()],
            checksum: Some(ChecksumForm::Rfc9568),
            authentication: None,
        };
        Heard {
            mac: [2, 0, 0, 0, 0, 0x0b],
            source: [10, 0, 20, 11].into(),
            destination: [224, 0, 0, 18].into(),
            ttl: 255,
            message: Some(message),
            fault: None,
            probe: None,
        }
    }

    fn said(heard: &Heard) -> String {
        let text = Line { interface: "eth0", ours: false, heard }.text();
        text.split_once(' ').map(|(_, rest)| rest.trim_end().to_owned()).unwrap_or_default()
    }

    #[test]
    fn who_says_what_and_what_is_wrong_with_it() {
        let mut heard = heard();
        let who = "eth0  10.0.20.11 02:00:00:00:00:0b > 224.0.0.18";
        let what = "VRRPv3 id 155, priority 255 (owner), every 1s: 10.0.20.155";
        assert_eq!(said(&heard), format!("{who}  {what}, checksum of RFC 9568"));
        heard.message.as_mut().unwrap().checksum = None;
        heard.fault = Some(Discard::Checksum);
        assert_eq!(said(&heard), format!("{who}  {what}  WRONG: wrong checksum"));
        heard.message = None;
        heard.fault = Some(Discard::Truncated);
        assert_eq!(said(&heard), format!("{who}  WRONG: shorter than its headers"));
        heard.fault = Some(Discard::Version(15));
        heard.probe = Some(Vec::new());
        assert_eq!(said(&heard), format!("{who}  a test by `pgvrrp doctor --peer`, which every router discards"));
    }

    #[test]
    fn a_line_of_json_has_every_key() {
        let line = Line { interface: "eth0", ours: true, heard: &heard() }.json();
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(json["virtual_router_id"], 155);
        assert_eq!(json["interval_ms"], 1000);
        assert_eq!(json["addresses"][0], "10.0.20.155");
        assert_eq!((&json["ours"], &json["fault"]), (&true.into(), &serde_json::Value::Null));
        assert_eq!(json["checksum"], "rfc9568");
        assert!(line.ends_with("}\n") && line.lines().count() == 1);
    }
}
