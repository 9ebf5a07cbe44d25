//! Who sends: the tokens of the live workers, shared by the supervisor (which hands them out) and ingest (which is shown them).

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use super::WorkerSpec;

/// The members by token; clones share them.
#[derive(Clone, Default)]
pub struct Roster {
    members: Arc<RwLock<HashMap<String, Arc<Member>>>>,
}

/// One unit as ingest sees it; it outlives the incarnations of its worker, so the counts do too.
#[derive(Debug)]
pub struct Member {
    pub id: String,
    pub input: String,
    tags: RwLock<Arc<BTreeMap<String, String>>>,
    born: Instant,
    /// Milliseconds after `born`.
    last_activity: AtomicU64,
    points_accepted: AtomicU64,
    points_refused: AtomicU64,
    last_refusal: Mutex<Option<String>>,
}

impl Roster {
    /// Lets a new incarnation of `member` in and returns its token.
    pub fn admit(&self, member: &Arc<Member>) -> String {
        let token = token();
        self.members.write().unwrap_or_else(PoisonError::into_inner).insert(token.clone(), Arc::clone(member));
        token
    }

    /// Forgets a token; what is sent with it later counts as sent by a stranger.
    pub fn dismiss(&self, token: &str) {
        self.members.write().unwrap_or_else(PoisonError::into_inner).remove(token);
    }

    pub fn find(&self, token: &str) -> Option<Arc<Member>> {
        self.members.read().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }
}

/// 128 bits that nobody can guess, as hex.
pub(super) fn token() -> String {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).expect("the kernel has random bytes");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Member {
    pub fn new(spec: &WorkerSpec) -> Arc<Self> {
        Self::of(&spec.id, spec)
    }

    /// One of several units of a process.
    pub fn of(id: &str, spec: &WorkerSpec) -> Arc<Self> {
        Arc::new(Self {
            id: id.to_owned(),
            input: spec.input.clone(),
            tags: RwLock::new(Arc::new(spec.tags.clone())),
            born: Instant::now(),
            last_activity: AtomicU64::new(0),
            points_accepted: AtomicU64::new(0),
            points_refused: AtomicU64::new(0),
            last_refusal: Mutex::new(None),
        })
    }

    /// The same unit under another input, with the counts that it has.
    pub fn renamed(&self, spec: &WorkerSpec) -> Arc<Self> {
        let member = Self::of(&self.id, spec);
        member.points_accepted.store(self.points_accepted(), Ordering::Relaxed);
        member.points_refused.store(self.points_refused(), Ordering::Relaxed);
        *member.refusal() = self.last_refusal();
        member
    }

    /// Added to its points where absent.
    pub fn tags(&self) -> Arc<BTreeMap<String, String>> {
        Arc::clone(&self.tags.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on its points get these tags.
    pub fn set_tags(&self, tags: &BTreeMap<String, String>) {
        *self.tags.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(tags.clone());
    }

    /// Notes a sign of life.
    pub fn touch(&self) {
        let millis = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_activity.store(millis, Ordering::Relaxed);
    }

    pub fn last_activity(&self) -> Instant {
        self.born + std::time::Duration::from_millis(self.last_activity.load(Ordering::Relaxed))
    }

    /// Counts points that are on disk now.
    pub fn accepted(&self, points: u64) {
        self.points_accepted.fetch_add(points, Ordering::Relaxed);
    }

    /// Counts points that were not taken, as the worker says it: some never came to ingest.
    pub fn refused(&self, points: u64) {
        self.points_refused.fetch_add(points, Ordering::Relaxed);
    }

    /// Remembers why a point was refused.
    pub fn refused_because(&self, category: &str, field: &str, reason: &str) {
        let text =
            if field.is_empty() { format!("{category}: {reason}") } else { format!("{category}, {field}: {reason}") };
        *self.refusal() = Some(text);
    }

    /// Adds the place in the unit to the last refusal, which only the worker knows.
    pub fn refused_at(&self, place: &str) {
        if let Some(text) = self.refusal().as_mut()
            && !text.ends_with(place)
        {
            text.push_str(" at ");
            text.push_str(place);
        }
    }

    /// Remembers why a report was refused whole, or never reached ingest.
    pub fn report_refused(&self, why: &str) {
        *self.refusal() = Some(why.to_owned());
    }

    pub fn points_accepted(&self) -> u64 {
        self.points_accepted.load(Ordering::Relaxed)
    }

    pub fn points_refused(&self) -> u64 {
        self.points_refused.load(Ordering::Relaxed)
    }

    pub fn last_refusal(&self) -> Option<String> {
        self.refusal().clone()
    }

    fn refusal(&self) -> MutexGuard<'_, Option<String>> {
        self.last_refusal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
