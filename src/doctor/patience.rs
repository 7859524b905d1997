//! How long is waited for answers: each question has its limit, and several in a row have one together.

use std::time::Duration;

use tokio::time::timeout;
use vrrp::time::Instant;

use crate::clock;

/// The limit of one question, unless told otherwise.
const QUESTION: Duration = Duration::from_secs(2);

/// What is left of the time for a row of questions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    question: Duration,
    until: Instant,
}

impl Patience {
    /// For all of them together, from now on.
    pub(super) fn of(together: Duration) -> Self {
        Self { question: QUESTION, until: clock::now() + together }
    }

    /// With this limit for each, if it is shorter.
    pub(super) fn with_question(self, limit: Duration) -> Self {
        Self { question: self.question.min(limit), ..self }
    }

    /// Waits for one answer.
    ///
    /// # Errors
    /// With how long was waited, if it did not come.
    pub(super) async fn wait<T>(self, answer: impl Future<Output = T>) -> Result<T, String> {
        let limit = self.question.min(self.until.since(clock::now()));
        if limit.is_zero() {
            return Err("no answer in time to the questions before".to_owned());
        }
        timeout(limit, answer).await.map_err(|_| format!("no answer within {limit:.1?}"))
    }
}
