//! What an application says.

use serde::Deserialize;

use crate::clock::Time;

/// One line of an application's report.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Sight {
    /// When it was seen. For a request: when it ended.
    pub at: Time,
    /// Which of its workers or connections.
    pub client: u32,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What an application sees.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    /// All that it opens at the beginning is open.
    Ready,
    /// A unit of work of a worker has come to an end.
    Request {
        /// When it began.
        started: Time,
        /// Why it failed, `None` when it was acknowledged.
        error: Option<String>,
    },
    /// A connection that nobody talked on has ended.
    Told {
        /// In the driver's words.
        how: String,
    },
    /// A pool has found a connection dead that nobody was using.
    Dropped {
        /// In the driver's words.
        how: String,
    },
}

impl Sight {
    pub(super) fn read(line: &str) -> serde_json::Result<Self> {
        serde_json::from_str(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read() {
        let sight = Sight::read(r#"{"at": 7, "client": 2, "event": "request", "started": 5, "error": null}"#).unwrap();
        let started = Time::from_nanos(5);
        assert_eq!(sight, Sight { at: Time::from_nanos(7), client: 2, what: What::Request { started, error: None } });
    }
}
