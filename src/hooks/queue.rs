//! One hook at a time for each VIP, in the order of its transitions. While one runs, the newest transition waits; one that
//! is waiting already is superseded by it: what counts is how things are now.

use std::cell::RefCell;
use std::rc::Rc;

use pgvrrp_config::Hooks;
use tokio::sync::Notify;
use tracing::{info, warn};

use super::VipHooks;
use super::board::Board;
use super::child::{self, Ended, Job};
use super::memory::Memory;
use super::state::{State, Transition};
use crate::words::harmless;

/// Where hooks find programs.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The longest value in a hook's environment, in characters: some of it others wrote.
const LONGEST: usize = 1024;

/// What waits for the hooks of one VIP.
#[derive(Debug)]
pub(super) struct Queue {
    vip: String,
    next: RefCell<Next>,
    news: Notify,
    board: Board,
}

#[derive(Debug, Default)]
struct Next {
    transition: Option<Transition>,
    /// Nothing comes after it.
    ended: bool,
}

impl Queue {
    pub(super) fn new(vip: String, board: Board) -> Self {
        Self { vip, next: RefCell::default(), news: Notify::new(), board }
    }

    /// To be run next.
    pub(super) fn put(&self, transition: Transition) {
        let before = self.next.borrow_mut().transition.replace(transition);
        self.missed(u64::from(before.is_some()));
        self.board.queued(&self.vip, 1);
        self.news.notify_one();
    }

    /// To be run last, if anything is.
    pub(super) fn end_with(&self, transition: Option<Transition>) {
        self.next.borrow_mut().ended = true;
        match transition {
            Some(transition) => self.put(transition),
            None => self.news.notify_one(),
        }
    }

    /// So many transitions had no hook.
    pub(super) fn missed(&self, count: u64) {
        if count > 0 {
            self.board.superseded(&self.vip, count);
            info!(vip = self.vip, count, "no hooks are run for transitions that others have followed already");
        }
    }

    /// Waits for the next one; `None` after the last.
    async fn next(&self) -> Option<Transition> {
        loop {
            {
                let mut next = self.next.borrow_mut();
                if let Some(transition) = next.transition.take() {
                    self.board.queued(&self.vip, 0);
                    return Some(transition);
                }
                if next.ended {
                    return None;
                }
            }
            self.news.notified().await;
        }
    }
}

/// Runs the hooks of a VIP, as they are when their turn comes, until its queue has ended.
pub(super) async fn work(queue: Rc<Queue>, vip: Rc<RefCell<VipHooks>>, memory: Rc<Memory>, board: Board) {
    while let Some(transition) = queue.next().await {
        let vip = vip.borrow().clone();
        let state = transition.state;
        for (hook, command) in [(state.hook(), of(&vip.hooks, state)), ("on_change", &vip.hooks.on_change)] {
            if command.is_empty() {
                continue;
            }
            board.started(&vip.name, hook);
            let outcome = child::run(&job(&vip, hook, command, &transition), &vip.name, hook).await;
            let (name, text, took) = (&vip.name, &outcome.text, outcome.took.as_secs_f64());
            match outcome.result {
                Ended::Ok => info!(vip = name, hook, took, "hook {text}"),
                _ => warn!(vip = name, hook, took, "hook {text}"),
            }
            board.ended(&vip.name, hook, state.as_str(), command.join(" "), &outcome);
        }
        memory.note(&vip.name, state);
    }
}

fn of(hooks: &Hooks, state: State) -> &Vec<String> {
    match state {
        State::Active => &hooks.on_active,
        State::Backup => &hooks.on_backup,
        State::Fault => &hooks.on_fault,
        State::Stop => &hooks.on_stop,
    }
}

/// What is run, with Keepalived's four arguments behind the operator's.
fn job(vip: &VipHooks, hook: &str, command: &[String], transition: &Transition) -> Job {
    let state = transition.state;
    let four = ["INSTANCE", &vip.name, state.keepalived(), &vip.priority.to_string()].map(str::to_owned);
    let environment = vec![
        ("PATH", PATH.to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
        ("PGVRRP_HOOK", hook.to_owned()),
        ("PGVRRP_VIP", vip.name.clone()),
        ("PGVRRP_ADDRESSES", vip.addresses.join(" ")),
        ("PGVRRP_INTERFACE", vip.interface.clone()),
        ("PGVRRP_VIRTUAL_ROUTER_ID", vip.virtual_router_id.to_string()),
        ("PGVRRP_PRIORITY", vip.priority.to_string()),
        ("PGVRRP_MEMBER", vip.member.clone()),
        ("PGVRRP_STATE", state.as_str().to_owned()),
        ("PGVRRP_STATE_BEFORE", transition.before.map(State::as_str).unwrap_or_default().to_owned()),
        ("PGVRRP_REASON", transition.reason.clone()),
        ("PGVRRP_WHY", bounded(&transition.why)),
    ];
    Job { command: command.iter().cloned().chain(four).collect(), environment, limit: vip.timeout }
}

/// No control characters, and so much and no more.
fn bounded(text: &str) -> String {
    harmless(text).chars().take(LONGEST).collect()
}
