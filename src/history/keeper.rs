//! The daemon's part: learns of moves from the picture, keeps so many of each VIP, and writes them down.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tracing::warn;
use vrrp::time::Instant;

use super::{Answer, Kept, LONGEST, MOST, OfVip, Phase, Told, file};
use crate::clock;
use crate::node::status::{Move, MoveKind, Status};
use crate::words;

/// The moves of this node's VIPs. Everybody has it; who writes the file waits for nobody but another that writes.
#[derive(Debug)]
pub struct Keeper {
    path: PathBuf,
    boot_id: String,
    memory: Mutex<Memory>,
    /// Held while the file is written.
    writing: Mutex<()>,
}

#[derive(Debug)]
struct Memory {
    node: String,
    /// By name; those that are configured, or were since the start.
    vips: BTreeMap<String, Past>,
    /// What the file lacks yet.
    unwritten: Vec<Kept>,
    /// Lines in the file; `None` if it has to be written as a whole.
    lines: Option<usize>,
    /// That it could not be written has been said.
    told: bool,
}

#[derive(Debug, Default)]
struct Past {
    /// The oldest first.
    moves: VecDeque<Kept>,
    /// How many of the moves of this process are among them.
    seen: u64,
}

impl Keeper {
    /// With what a predecessor of this boot has left. That it cannot be read is said, and the VIPs do not depend on it.
    pub fn open(runtime_dir: &Path, boot_id: &str, node: &str, vips: impl Iterator<Item = String>) -> Self {
        let path = file::path(runtime_dir);
        let left = file::read(&path, boot_id).unwrap_or_else(|error| {
            let path = path.display();
            warn!(%path, %error, "what VIPs did before this start is not known");
            Vec::new()
        });
        let mut vips: BTreeMap<_, _> = vips.map(|name| (name, Past::default())).collect();
        for kept in left {
            if let Some(vip) = vips.get_mut(&kept.vip) {
                vip.keep(kept);
            }
        }
        let memory = Memory { node: node.to_owned(), vips, unwritten: Vec::new(), lines: None, told: false };
        Self { path, boot_id: boot_id.to_owned(), memory: Mutex::new(memory), writing: Mutex::new(()) }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Learns what is new in a picture. Returns whether there is something to write.
    pub fn learn(&self, status: &Status) -> bool {
        self.learn_at(status, clock::now().since(Instant::ZERO), clock::time_of_day())
    }

    /// `since_boot` and `time` are the same moment, by two clocks.
    fn learn_at(&self, status: &Status, since_boot: Duration, time: SystemTime) -> bool {
        let mut memory = self.memory();
        let Memory { vips, unwritten, lines, told, .. } = &mut *memory;
        for vip in &status.vips {
            let past = vips.entry(vip.name.clone()).or_default();
            let total = vip.counters.gained + vip.counters.lost;
            // Another VIP of that name, since the configuration was read again.
            if total < past.seen {
                past.seen = 0;
            }
            let new = usize::try_from(total.saturating_sub(past.seen)).unwrap_or(usize::MAX);
            past.seen = past.seen.max(total);
            // The picture has the newest first, and no more than so many.
            for done in vip.moves.iter().take(new).rev() {
                let boot = status.taken.saturating_sub(done.age);
                let time = time.checked_sub(since_boot.saturating_sub(boot)).unwrap_or(SystemTime::UNIX_EPOCH);
                let kept = keep(&vip.name, done, boot, time);
                unwritten.push(kept.clone());
                past.keep(kept);
            }
        }
        // What could not be written is tried again with the next move.
        !unwritten.is_empty() || (lines.is_none() && !*told)
    }

    /// Writes what the file lacks. It may be slow, so it is not for a thread that somebody waits for.
    pub fn write(&self) {
        let writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let (unwritten, whole) = {
            let mut memory = self.memory();
            let unwritten = std::mem::take(&mut memory.unwritten);
            let all = memory.vips.values().map(|vip| vip.moves.len()).sum::<usize>();
            // Twice as long as it has to be is long enough.
            let whole = memory.lines.is_none_or(|lines| lines + unwritten.len() > 2 * all.max(MOST));
            memory.lines = Some(if whole { all } else { memory.lines.unwrap_or_default() + unwritten.len() });
            let kept = memory.vips.values().flat_map(|vip| &vip.moves);
            (unwritten, whole.then(|| kept.cloned().collect::<Vec<_>>()))
        };
        let done = match whole {
            Some(all) => file::write(&self.path, &self.boot_id, all.iter()),
            None => file::append(&self.path, unwritten.iter()),
        };
        drop(writing);
        let Err(error) = done else { return };
        let mut memory = self.memory();
        memory.lines = None;
        if !std::mem::replace(&mut memory.told, true) {
            let path = self.path.display();
            warn!(%path, %error, "the history cannot be written: a restart will forget it; the VIP does not depend on it");
        }
    }

    /// What is known, in JSON with a newline.
    pub(crate) fn json(&self) -> String {
        let now = clock::now().since(Instant::ZERO);
        let memory = self.memory();
        let vips = memory.vips.iter().map(|(name, past)| {
            let moves = past.moves.iter().map(|kept| Told::of(kept, now)).collect();
            OfVip { name: name.clone(), moves }
        });
        let answer = Answer { node: memory.node.clone(), vips: vips.collect() };
        // Strings and numbers: there is nothing that JSON could refuse.
        let mut json = serde_json::to_string_pretty(&answer).unwrap_or_default();
        json.push('\n');
        json
    }
}

impl Past {
    fn keep(&mut self, kept: Kept) {
        if self.moves.len() == MOST {
            self.moves.pop_front();
        }
        self.moves.push_back(kept);
    }
}

fn keep(vip: &str, done: &Move, boot: Duration, time: SystemTime) -> Kept {
    Kept {
        vip: vip.to_owned(),
        time: words::exact_time(time),
        boot: boot.as_secs_f64(),
        kind: match done.kind {
            MoveKind::Gained => "gained".into(),
            MoveKind::Lost => "lost".into(),
        },
        reason: done.reason.chars().take(LONGEST).collect(),
        phases: done
            .phases
            .iter()
            .map(|phase| Phase { name: phase.name.into(), took: phase.took.as_secs_f64() })
            .collect(),
    }
}

/// Learns from each picture that is published, and lets another thread write.
pub async fn follow(keeper: Arc<Keeper>, mut status: watch::Receiver<Arc<Status>>) {
    loop {
        let picture = status.borrow_and_update().clone();
        if keeper.learn(&picture) {
            let keeper = keeper.clone();
            // Only a panic of that thread is an error here, and it has said so.
            let _ = tokio::task::spawn_blocking(move || keeper.write()).await;
        }
        if status.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::gate::policy::Policy;
    use crate::node::Node;
    use crate::node::status::MovePhase;
    use crate::node::tests::world::settings;

    const BOOT: &str = "c0ffee";

    /// When the pictures are taken, and looked at.
    const TAKEN: Duration = Duration::from_secs(1000);

    fn open(dir: &Path, boot_id: &str) -> Keeper {
        Keeper::open(dir, boot_id, "db1", std::iter::once("10.0.20.155".to_owned()))
    }

    /// A daemon that has seen so many moves, the last of them a second before.
    fn picture(moves: u64) -> Status {
        let start = Instant::from_millis(1_000_000);
        let mut status = Node::new(settings(Policy::default()), start).status(start);
        let vip = &mut status.vips[0];
        for number in 0..moves {
            let kind = if number % 2 == 0 { MoveKind::Gained } else { MoveKind::Lost };
            match kind {
                MoveKind::Gained => vip.counters.gained += 1,
                MoveKind::Lost => vip.counters.lost += 1,
            }
            let age = Duration::from_secs(moves - number);
            let phases = vec![MovePhase { name: "bind", took: Duration::from_millis(2) }];
            vip.moves.insert(0, Move { kind, age, reason: format!("number {number}"), phases });
            vip.moves.truncate(16);
        }
        status
    }

    fn reasons(keeper: &Keeper) -> Vec<String> {
        keeper.memory().vips["10.0.20.155"].moves.iter().map(|kept| kept.reason.clone()).collect()
    }

    #[test]
    fn moves_outlive_the_daemon_and_not_the_boot() {
        let dir = tempfile::tempdir().unwrap();
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(86_400);
        let first = open(dir.path(), BOOT);
        assert!(first.learn_at(&picture(2), TAKEN, at));
        first.write();
        assert!(!first.learn_at(&picture(2), TAKEN, at), "nothing new");
        assert!(first.learn_at(&picture(3), TAKEN, at));
        first.write();
        let second = open(dir.path(), BOOT);
        assert_eq!(reasons(&second), ["number 0", "number 1", "number 2"]);
        assert_eq!(second.memory().vips["10.0.20.155"].moves, first.memory().vips["10.0.20.155"].moves);
        let oldest = second.memory().vips["10.0.20.155"].moves[0].clone();
        assert_eq!((oldest.time.as_str(), oldest.boot, &*oldest.kind), ("1970-01-01T23:59:58.000Z", 998.0, "gained"));
        assert_eq!(oldest.phases, [Phase { name: "bind".into(), took: 0.002 }]);
        // Those of the next process are new, though it counts from nought.
        assert!(second.learn_at(&picture(1), TAKEN, at));
        assert_eq!(reasons(&second).len(), 4);
        assert_eq!(reasons(&open(dir.path(), "another boot")), [""; 0]);
    }

    #[test]
    fn so_many_are_kept_in_a_file_that_does_not_grow() {
        let dir = tempfile::tempdir().unwrap();
        let keeper = open(dir.path(), BOOT);
        for moves in 1..1000 {
            keeper.learn_at(&picture(moves), TAKEN, SystemTime::UNIX_EPOCH + Duration::from_secs(86_400));
            keeper.write();
        }
        let lines = fs::read_to_string(file::path(dir.path())).unwrap().lines().count();
        assert!(lines <= 2 * MOST + 1, "{lines}");
        let kept = reasons(&open(dir.path(), BOOT));
        assert_eq!((kept.len(), kept[0].as_str(), kept[MOST - 1].as_str()), (MOST, "number 935", "number 998"));
    }

    #[test]
    fn damage_costs_no_more_than_what_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let keeper = open(dir.path(), BOOT);
        keeper.learn_at(&picture(3), TAKEN, SystemTime::UNIX_EPOCH);
        keeper.write();
        let path = file::path(dir.path());
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, &text.as_bytes()[..text.len() - 10]).unwrap();
        assert_eq!(reasons(&open(dir.path(), BOOT)), ["number 0", "number 1"]);
        for foreign in [&b"\xff\xfe\0"[..], b"", b"[]\n", b"{\"format\":2,\"boot_id\":\"c0ffee\"}\n"] {
            fs::write(&path, foreign).unwrap();
            assert_eq!(reasons(&open(dir.path(), BOOT)), [""; 0]);
        }
    }

    /// What could not be written is, as soon as it can be.
    #[test]
    fn a_file_that_cannot_be_written_is_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let keeper = open(dir.path(), BOOT);
        let obstacle = file::path(dir.path()).with_extension("new");
        fs::create_dir(&obstacle).unwrap();
        keeper.learn_at(&picture(1), TAKEN, SystemTime::UNIX_EPOCH);
        keeper.write();
        assert_eq!(reasons(&open(dir.path(), BOOT)), [""; 0]);
        fs::remove_dir(&obstacle).unwrap();
        assert!(keeper.learn_at(&picture(2), TAKEN, SystemTime::UNIX_EPOCH));
        keeper.write();
        assert_eq!(reasons(&open(dir.path(), BOOT)), ["number 0", "number 1"]);
        // And one that somebody has removed is made anew, not appended to.
        fs::remove_file(file::path(dir.path())).unwrap();
        keeper.learn_at(&picture(3), TAKEN, SystemTime::UNIX_EPOCH);
        keeper.write();
        keeper.write();
        assert_eq!(reasons(&open(dir.path(), BOOT)).len(), 3);
    }

    #[test]
    fn a_reason_has_a_length() {
        let dir = tempfile::tempdir().unwrap();
        let keeper = open(dir.path(), BOOT);
        let mut status = picture(1);
        status.vips[0].moves[0].reason = "ä".repeat(10_000);
        keeper.learn_at(&status, TAKEN, SystemTime::UNIX_EPOCH);
        assert_eq!(reasons(&keeper)[0].chars().count(), LONGEST);
    }
}
