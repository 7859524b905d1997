//! The askers. They ask etcd, PostgreSQL and Patroni, and report what was answered with the time at which it was asked. They
//! decide nothing: what an answer means is the gate's business.

pub mod etcd;
pub mod patroni;
pub mod postgres;
pub(crate) mod tls;
