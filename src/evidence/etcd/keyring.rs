//! The secrets in V, by which a list of clients is known to come from the VIP's holder. Only daemons see them: they are not
//! evidence, and neither logs nor recordings have them.

use std::fmt;

use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

use crate::gate::evidence::LockValue;

/// For each VIP with a lock, in the order of the configuration: by whose word to go.
pub type Keyring = Vec<Option<LockSecret>>;

/// The holder of one V.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockSecret {
    /// Its member name.
    pub member: String,
    /// V's, which is no other V's.
    pub mod_revision: i64,
    /// What only those know who may read V.
    pub secret: Secret,
}

/// 256 random bits, new with each put of V.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 32]);

impl Secret {
    /// A new one; `None` if the system has no randomness to give.
    pub fn random() -> Option<Self> {
        let mut bytes = [0; 32];
        SystemRandom::new().fill(&mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// For computing with it.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Secret {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// V's value with its secret: a field that [`LockValue`] does not have, and that older daemons read over.
#[derive(Serialize)]
struct Value<'a> {
    #[serde(flatten)]
    lock: &'a LockValue,
    secret: Option<String>,
}

#[derive(Deserialize)]
struct Hidden {
    secret: String,
}

/// What to put as V.
///
/// # Errors
/// If it cannot be written as JSON.
pub(super) fn seal(lock: &LockValue, secret: Option<&Secret>) -> serde_json::Result<Vec<u8>> {
    let secret = secret.map(|secret| secret.0.iter().map(|byte| format!("{byte:02x}")).collect());
    serde_json::to_vec(&Value { lock, secret })
}

/// The secret in a value of V; `None` if its holder's version has none.
pub fn secret_of(value: &[u8]) -> Option<Secret> {
    let Hidden { secret } = serde_json::from_slice(value).ok()?;
    if secret.len() != 64 || !secret.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(secret.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(Secret(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::etcd::parse::lock_holder;
    use crate::gate::evidence::LockHolder;

    fn lock() -> LockValue {
        let (member, boot_id, incarnation) = ("db1".to_owned(), "b".to_owned(), "i".to_owned());
        LockValue { format: LockValue::FORMAT, member, boot_id, incarnation, epoch: 7 }
    }

    #[test]
    fn the_secret_is_read_back_and_does_not_hide_the_rest() {
        let secret = Secret::random().unwrap();
        let value = seal(&lock(), Some(&secret)).unwrap();
        assert_eq!(secret_of(&value), Some(secret.clone()));
        assert_eq!(lock_holder(&value), LockHolder::Known(lock()));
        assert_ne!(Secret::random(), Some(secret.clone()));
        assert_eq!(format!("{secret:?}"), "Secret(..)");
    }

    #[test]
    fn what_is_no_secret_is_none() {
        assert_eq!(secret_of(&serde_json::to_vec(&lock()).unwrap()), None, "an older version's V");
        assert_eq!(secret_of(&seal(&lock(), None).unwrap()), None);
        for wrong in ["", "00", &"zz".repeat(32), &"é".repeat(32), &"00".repeat(33)] {
            let value = serde_json::to_vec(&serde_json::json!({ "secret": wrong })).unwrap();
            assert_eq!(secret_of(&value), None, "{wrong}");
        }
        assert_eq!(secret_of(b"\xff{"), None);
    }
}
