//! What a reload does to each unit: what runs is compared with what is wanted. Pure; whoever asks has looked at the files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::worker::WorkerSpec;
use crate::worker::files::{Dependency, Print, moved};

/// A unit as the settings want it.
#[derive(Debug, Clone, PartialEq)]
pub struct WantedUnit {
    pub spec: WorkerSpec,
    /// The exported tree that it lies in. Nothing in there ever changes; another version is another tree.
    pub home: Option<PathBuf>,
    /// What `cmd` is on this machine.
    pub interpreter: Option<PathBuf>,
    /// All that [`parts`] asked for, as it is now.
    pub now: Print,
}

impl From<WorkerSpec> for WantedUnit {
    fn from(spec: WorkerSpec) -> Self {
        Self { spec, home: None, interpreter: None, now: Print::new() }
    }
}

/// A unit as it runs, or fails to.
#[derive(Debug, Clone, PartialEq)]
pub struct Runs {
    pub spec: WorkerSpec,
    pub home: Option<PathBuf>,
    /// The exported trees that its workers were started in.
    pub lives_in: Vec<PathBuf>,
    pub interpreter: Option<PathBuf>,
    /// What it has loaded, or tried to.
    pub print: Print,
    pub state: RunState,
    pub refusal: Option<RefusedVersion>,
    /// Ids of its units, of several in one process, that could not be loaded although it works.
    pub unloaded: BTreeSet<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// A worker that has loaded its unit: it is ended only for something better.
    Works,
    /// On its way to that.
    Starts,
    /// A file without a collector, imported by others.
    Helps,
    Fails,
    Leaves,
}

/// A version that is not run.
#[derive(Debug, Clone, PartialEq)]
pub struct RefusedVersion {
    /// `my/x.py:3: syntax error: …`
    pub why: String,
    /// The unit at fault, of several in one process.
    pub of: Option<String>,
    pub at: SystemTime,
    pub spec: WorkerSpec,
    pub home: Option<PathBuf>,
    /// The files that were refused: the same ones are not tried again and again.
    pub print: Print,
}

/// Who wants it: a look at the files that were noticed to change, or a person, who may have mended what no file shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asking {
    Noticed,
    Asked,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlanStep {
    Start,
    /// The new version is tried first, while the old one runs.
    Try(String),
    /// At once: nothing good is lost.
    Restart(String),
    /// Nothing that a worker would have to be restarted for.
    Update,
    /// The same in another exported tree.
    Move,
    Keep,
    /// What was refused before is still there.
    StillRefused(String),
    Stop,
}

/// Each unit's step, those that are wanted first.
pub type UnitPlan = Vec<(String, PlanStep)>;

/// What has to be looked at before [`plan`] for a unit that is wanted, in its own tree.
pub fn parts<'a>(running: &'a [Runs], wanted: &'a WantedUnit) -> impl Iterator<Item = Dependency> + 'a {
    let runs = running.iter().filter(|runs| runs.spec.id == wanted.spec.id);
    runs.flat_map(|runs| {
        let own = runs.print.keys().map(|part| (part, runs.home.as_deref()));
        let refused = runs.refusal.iter();
        let refused = refused.flat_map(|refusal| refusal.print.keys().map(|part| (part, refusal.home.as_deref())));
        own.chain(refused).map(|(part, home)| part.moved(home, wanted.home.as_deref()))
    })
}

/// Says what is to be done so that what is wanted runs.
pub fn plan(running: &[Runs], wanted: &[WantedUnit], asking: Asking) -> UnitPlan {
    let by_id: BTreeMap<&str, &Runs> = running.iter().map(|runs| (runs.spec.id.as_str(), runs)).collect();
    let mut plan: UnitPlan = wanted
        .iter()
        .map(|wanted| {
            let step = match by_id.get(wanted.spec.id.as_str()) {
                None => PlanStep::Start,
                Some(runs) => step(runs, wanted, asking),
            };
            (wanted.spec.id.clone(), step)
        })
        .collect();
    let is_wanted = |runs: &&Runs| wanted.iter().any(|wanted| wanted.spec.id == runs.spec.id);
    // What a lister told leaves with the change that makes it none.
    let belongs = |runs: &&Runs| wanted.iter().any(|wanted| runs.spec.told_by() == Some(wanted.spec.id.as_str()));
    let gone = running.iter().filter(|runs| runs.state != RunState::Leaves && !is_wanted(runs) && !belongs(runs));
    plan.extend(gone.map(|runs| (runs.spec.id.clone(), PlanStep::Stop)));
    plan
}

fn step(runs: &Runs, wanted: &WantedUnit, asking: Asking) -> PlanStep {
    if runs.state == RunState::Leaves {
        return PlanStep::Start;
    }
    let changed = change(runs, wanted);
    if let (Some(refusal), true) = (&runs.refusal, changed.is_some() && asking == Asking::Noticed)
        && is_refused(refusal, wanted)
    {
        return PlanStep::StillRefused(refusal.why.clone());
    }
    match changed {
        Some(why) if runs.state == RunState::Works => PlanStep::Try(why),
        Some(why) => PlanStep::Restart(why),
        None if asking == Asking::Asked && (runs.state == RunState::Fails || !runs.unloaded.is_empty()) => {
            PlanStep::Restart("tried again".to_owned())
        }
        // What was refused is gone: what runs is what is there.
        None if runs.refusal.is_some()
            || in_tree(&runs.spec, runs.home.as_deref(), wanted.home.as_deref()) != wanted.spec =>
        {
            PlanStep::Update
        }
        None if runs.home != wanted.home => PlanStep::Move,
        None => PlanStep::Keep,
    }
}

fn is_refused(refusal: &RefusedVersion, wanted: &WantedUnit) -> bool {
    let (from, to) = (refusal.home.as_deref(), wanted.home.as_deref());
    in_tree(&refusal.spec, from, to) == obeyed_live(&wanted.spec, &refusal.spec)
        && differing(&refusal.print, from, wanted).is_none()
}

/// Says why the unit has to be restarted.
fn change(runs: &Runs, wanted: &WantedUnit) -> Option<String> {
    let (from, to) = (runs.home.as_deref(), wanted.home.as_deref());
    let before = in_tree(&runs.spec, from, to);
    let after = obeyed_live(&wanted.spec, &runs.spec);
    if before != after {
        return Some(setting(&before, &after));
    }
    // Unknown before the first start, and where there is none to be found.
    if let (Some(before), Some(after)) = (&runs.interpreter, &wanted.interpreter)
        && before != after
    {
        return Some(format!("`{}` is another interpreter: {}", wanted.spec.cmd, after.display()));
    }
    differing(&runs.print, from, wanted)
}

/// A spec as it would be in another exported tree.
pub(super) fn in_tree(spec: &WorkerSpec, from: Option<&Path>, to: Option<&Path>) -> WorkerSpec {
    let mut spec = spec.clone();
    if let (Some(from), Some(to)) = (from, to) {
        spec.roots.iter_mut().for_each(|root| *root = moved(root, from, to));
        for unit in &mut spec.units {
            (unit.file, unit.root) = (moved(&unit.file, from, to), moved(&unit.root, from, to));
            unit.reads.iter_mut().for_each(|file| *file = moved(file, from, to));
            move_texts(&mut unit.parts, from, to);
        }
    }
    spec
}

/// Parts are the dialect's own; a text in them that is a path of the tree is moved with it.
fn move_texts(parts: &mut serde_json::Value, from: &Path, to: &Path) {
    match parts {
        serde_json::Value::String(text) if Path::new(text).starts_with(from) => {
            *text = moved(Path::new(text), from, to).display().to_string();
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(|item| move_texts(item, from, to)),
        serde_json::Value::Object(items) => items.values_mut().for_each(|item| move_texts(item, from, to)),
        _ => {}
    }
}

/// The spec with those settings of another that the agent itself obeys: they apply without a restart.
fn obeyed_live(spec: &WorkerSpec, of: &WorkerSpec) -> WorkerSpec {
    WorkerSpec { tags: of.tags.clone(), run_timeout: of.run_timeout, stop_grace: of.stop_grace, ..spec.clone() }
}

fn setting(before: &WorkerSpec, after: &WorkerSpec) -> String {
    let is_same_kind = before.lists() == after.lists() && before.shares == after.shares;
    if is_same_kind && before.shares && before.units != after.units {
        return "units came or went".to_owned();
    }
    let names = [
        ("isolation", !is_same_kind),
        ("unit", before.units != after.units),
        ("dirs", before.roots != after.roots),
        ("name", before.input != after.input),
        ("cmd", before.cmd != after.cmd),
        ("envs", before.envs != after.envs),
        ("config", before.config != after.config),
        ("its own keys", before.settings != after.settings),
        ("nice", before.nice != after.nice),
        ("memory_max", before.memory_max != after.memory_max),
    ];
    let names: Vec<String> =
        names.iter().filter(|(_, changed)| *changed).map(|(name, _)| format!("`{name}`")).collect();
    if names.is_empty() { "its settings changed".to_owned() } else { format!("{} changed", names.join(", ")) }
}

/// The first part that is not as it was.
fn differing(print: &Print, home: Option<&Path>, wanted: &WantedUnit) -> Option<String> {
    let to = wanted.home.as_deref();
    let part = print.iter().find(|(part, sum)| wanted.now.get(&part.moved(home, to)) != Some(*sum));
    part.map(|(part, _)| {
        let part = part.moved(home, to);
        let is_gone = wanted.now.get(&part).is_none_or(Option::is_none);
        let inside = |root: &PathBuf| part.path().strip_prefix(root.parent()?).ok();
        let path = wanted.spec.roots.iter().find_map(inside).unwrap_or(part.path()).display().to_string();
        match part {
            Dependency::File(_) if is_gone => format!("{path} is gone"),
            Dependency::File(_) => format!("{path} changed"),
            Dependency::Names(_) => format!("modules came or went below {path}"),
            Dependency::Entries(_) => format!("files came or went in {path}"),
            Dependency::Data(_) => format!("data below {path} changed"),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::worker::UnitSpec;
    use crate::worker::files::Sum;

    fn spec(id: &str) -> WorkerSpec {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("x.py"), "").unwrap();
        let input = crate::config::InputTable::plain("in", "python3", dir.path().to_owned());
        let mut spec = crate::worker::discover::scripts(&[input]).specs.remove(0);
        (spec.id, spec.roots) = (id.to_owned(), vec!["/d".into()]);
        spec.units[0] = unit("/d", id);
        spec
    }

    fn unit(root: &str, name: &str) -> UnitSpec {
        UnitSpec::of_file(name.to_owned(), format!("{root}/{name}.py").into(), root.into(), name.to_owned())
    }

    fn file(path: &str, text: &str) -> (Dependency, Option<Sum>) {
        (Dependency::File(path.into()), Some(Sum::of(text.as_bytes())))
    }

    fn print(id: &str, text: &str) -> Print {
        Print::from([file(&format!("/d/{id}.py"), text)])
    }

    fn runs(id: &str, text: &str) -> Runs {
        let print = print(id, text);
        Runs {
            spec: spec(id),
            home: None,
            lives_in: Vec::new(),
            interpreter: None,
            print,
            state: RunState::Works,
            refusal: None,
            unloaded: BTreeSet::new(),
        }
    }

    fn wanted(id: &str, text: &str) -> WantedUnit {
        WantedUnit { now: print(id, text), ..spec(id).into() }
    }

    fn refused(runs: Runs, text: &str) -> Runs {
        let (spec, print) = (runs.spec.clone(), print(&runs.spec.id, text));
        let refusal =
            RefusedVersion { why: "bad".to_owned(), of: None, at: SystemTime::UNIX_EPOCH, spec, home: None, print };
        Runs { refusal: Some(refusal), ..runs }
    }

    fn in_state(state: RunState, runs: Runs) -> Runs {
        Runs { state, ..runs }
    }

    fn one(runs: Runs, wanted: WantedUnit, asking: Asking) -> PlanStep {
        let plan = plan(&[runs], &[wanted], asking);
        assert_eq!(plan.len(), 1);
        plan.into_iter().next().unwrap().1
    }

    #[test]
    fn each_difference_has_its_step() {
        use Asking::{Asked, Noticed};
        use RunState::{Fails, Helps, Leaves, Starts, Works};
        let changed = || "d/x.py changed".to_owned();
        let table = [
            (runs("x", "1"), "1", Noticed, PlanStep::Keep),
            (runs("x", "1"), "1", Asked, PlanStep::Keep),
            (runs("x", "1"), "2", Noticed, PlanStep::Try(changed())),
            (in_state(Starts, runs("x", "1")), "2", Noticed, PlanStep::Restart(changed())),
            (in_state(Starts, runs("x", "1")), "1", Asked, PlanStep::Keep),
            (in_state(Helps, runs("x", "1")), "1", Asked, PlanStep::Keep),
            (in_state(Helps, runs("x", "1")), "2", Noticed, PlanStep::Restart(changed())),
            (in_state(Fails, runs("x", "1")), "1", Noticed, PlanStep::Keep),
            (in_state(Fails, runs("x", "1")), "1", Asked, PlanStep::Restart("tried again".to_owned())),
            (in_state(Fails, runs("x", "1")), "2", Noticed, PlanStep::Restart(changed())),
            (in_state(Leaves, runs("x", "1")), "1", Noticed, PlanStep::Start),
            (refused(runs("x", "1"), "2"), "2", Noticed, PlanStep::StillRefused("bad".to_owned())),
            (refused(runs("x", "1"), "2"), "2", Asked, PlanStep::Try(changed())),
            (refused(runs("x", "1"), "2"), "3", Noticed, PlanStep::Try(changed())),
            (refused(runs("x", "1"), "2"), "1", Noticed, PlanStep::Update),
            (refused(in_state(Works, runs("x", "1")), "2"), "1", Asked, PlanStep::Update),
        ];
        for (runs, text, asking, step) in table {
            let told = format!("{runs:?} {text} {asking:?}");
            assert_eq!(one(runs, wanted("x", text), asking), step, "{told}");
        }
    }

    #[test]
    fn what_the_agent_obeys_itself_restarts_nothing_and_all_else_does() {
        let live: [fn(&mut WorkerSpec); 3] = [
            |spec| spec.tags = BTreeMap::from([("a".to_owned(), "b".to_owned())]),
            |spec| spec.run_timeout = Some(Duration::from_secs(9)),
            |spec| spec.stop_grace = Duration::from_secs(9),
        ];
        for change in live {
            let mut wanted = wanted("x", "1");
            change(&mut wanted.spec);
            assert_eq!(one(runs("x", "1"), wanted, Asking::Noticed), PlanStep::Update);
        }
        type Edit = fn(&mut WorkerSpec);
        let others: [(Edit, &str); 6] = [
            (|spec| spec.cmd = "python3.9".to_owned(), "`cmd` changed"),
            (|spec| spec.envs = vec![("A".to_owned(), "1".to_owned())], "`envs` changed"),
            (|spec| spec.config = serde_json::json!({"a": 1}), "`config` changed"),
            (|spec| (spec.nice, spec.memory_max) = (0, Some(1)), "`nice`, `memory_max` changed"),
            (|spec| spec.input = "other".to_owned(), "`name` changed"),
            (|spec| spec.roots.push("/e".into()), "`dirs` changed"),
        ];
        for (change, why) in others {
            let mut wanted = wanted("x", "1");
            change(&mut wanted.spec);
            assert_eq!(one(runs("x", "1"), wanted, Asking::Noticed), PlanStep::Try(why.to_owned()));
        }
    }

    #[test]
    fn another_interpreter_behind_the_same_name_is_a_change() {
        let before = Runs { interpreter: Some("/py/3.11".into()), ..runs("x", "1") };
        let same = WantedUnit { interpreter: Some("/py/3.11".into()), ..wanted("x", "1") };
        let other = WantedUnit { interpreter: Some("/py/3.12".into()), ..wanted("x", "1") };
        assert_eq!(one(before.clone(), same, Asking::Noticed), PlanStep::Keep);
        assert!(matches!(one(before.clone(), other, Asking::Noticed), PlanStep::Try(why) if why.contains("/py/3.12")));
        let none = WantedUnit { interpreter: None, ..wanted("x", "1") };
        assert_eq!(
            one(before, none, Asking::Noticed),
            PlanStep::Keep,
            "a worker that runs is not ended for a lost one"
        );
    }

    #[test]
    fn a_helper_that_changes_or_goes_is_a_change_of_the_unit() {
        let mut before = runs("x", "1");
        before.print.extend([file("/d/helper.py", "h")]);
        let mut now = wanted("x", "1");
        now.now.extend([file("/d/helper.py", "i")]);
        assert_eq!(one(before.clone(), now.clone(), Asking::Noticed), PlanStep::Try("d/helper.py changed".to_owned()));
        now.now.extend([(Dependency::File("/d/helper.py".into()), None)]);
        assert_eq!(one(before, now, Asking::Noticed), PlanStep::Try("d/helper.py is gone".to_owned()));
    }

    #[test]
    fn the_same_files_in_another_tree_keep_their_worker() {
        let in_home = |home: &str, text: &str| {
            let mut spec = spec("x");
            spec.roots = vec![format!("{home}/my").into()];
            spec.units[0] = unit(&format!("{home}/my"), "x");
            let print = Print::from([file(&format!("{home}/my/x.py"), text)]);
            (spec, Some(PathBuf::from(home)), print)
        };
        let before = |text| {
            let (spec, home, print) = in_home("/g/1", text);
            Runs { spec, home, print, ..runs("x", text) }
        };
        let after = |text| {
            let (spec, home, now) = in_home("/g/2", text);
            WantedUnit { spec, home, interpreter: None, now }
        };
        let asked: Vec<Dependency> = parts(&[before("1")], &after("1")).collect();
        assert_eq!(asked, [Dependency::File("/g/2/my/x.py".into())]);
        assert_eq!(one(before("1"), after("1"), Asking::Noticed), PlanStep::Move);
        assert_eq!(one(before("1"), after("2"), Asking::Noticed), PlanStep::Try("my/x.py changed".to_owned()));
        let mut refused = before("1");
        let (spec, home, print) = in_home("/g/2", "2");
        refused.refusal =
            Some(RefusedVersion { why: "bad".to_owned(), of: None, at: SystemTime::UNIX_EPOCH, spec, home, print });
        let (spec, home, now) = in_home("/g/3", "2");
        let third = WantedUnit { spec, home, interpreter: None, now };
        assert_eq!(one(refused, third, Asking::Noticed), PlanStep::StillRefused("bad".to_owned()));
    }

    #[test]
    fn units_of_one_process_move_with_their_tree_and_one_more_is_a_change() {
        let several = |home: &str, names: &[&str]| {
            let units = names.iter().map(|name| unit(&format!("{home}/my"), name)).collect();
            WorkerSpec { units, shares: true, ..spec("[in]") }
        };
        let before = |unloaded: &[&str]| Runs {
            spec: several("/g/1", &["x", "y"]),
            home: Some("/g/1".into()),
            print: Print::new(),
            unloaded: unloaded.iter().map(|id| (*id).to_owned()).collect(),
            ..runs("[in]", "1")
        };
        let after = |names| {
            let home = Some("/g/2".into());
            WantedUnit { spec: several("/g/2", names), home, interpreter: None, now: Print::new() }
        };
        assert_eq!(one(before(&[]), after(&["x", "y"]), Asking::Noticed), PlanStep::Move);
        let came = one(before(&[]), after(&["x", "y", "z"]), Asking::Noticed);
        assert_eq!(came, PlanStep::Try("units came or went".to_owned()));
        assert_eq!(one(before(&["y"]), after(&["x", "y"]), Asking::Noticed), PlanStep::Move);
        let again = one(before(&["y"]), after(&["x", "y"]), Asking::Asked);
        assert_eq!(again, PlanStep::Restart("tried again".to_owned()), "a person may have mended what no file shows");
    }

    fn set() -> impl Strategy<Value = BTreeMap<String, u8>> {
        proptest::collection::btree_map("[a-e]", 0_u8..3, 0..5)
    }

    proptest! {
        #[test]
        fn what_is_wanted_runs_after_the_plan_and_nothing_is_done_twice(before in set(), after in set()) {
            let running: Vec<Runs> = before.iter().map(|(id, text)| runs(id, &text.to_string())).collect();
            let wanted: Vec<WantedUnit> = after.iter().map(|(id, text)| wanted(id, &text.to_string())).collect();
            let plan = plan(&running, &wanted, Asking::Noticed);
            let mut result = before.clone();
            for (id, step) in &plan {
                match step {
                    PlanStep::Start => prop_assert!(result.insert(id.clone(), after[id]).is_none()),
                    PlanStep::Try(_) => prop_assert_ne!(result.insert(id.clone(), after[id]), Some(after[id])),
                    PlanStep::Stop => prop_assert!(result.remove(id).is_some()),
                    PlanStep::Keep => prop_assert_eq!(result[id], after[id]),
                    other => prop_assert!(false, "{other:?}"),
                }
            }
            prop_assert_eq!(result, after);
            let ids: std::collections::BTreeSet<&String> = plan.iter().map(|(id, _)| id).collect();
            prop_assert_eq!(ids.len(), plan.len());
        }

        #[test]
        fn the_same_again_changes_nothing(set in set()) {
            let running: Vec<Runs> = set.iter().map(|(id, text)| runs(id, &text.to_string())).collect();
            let wanted: Vec<WantedUnit> = set.iter().map(|(id, text)| wanted(id, &text.to_string())).collect();
            for asking in [Asking::Noticed, Asking::Asked] {
                prop_assert!(plan(&running, &wanted, asking).iter().all(|(_, step)| *step == PlanStep::Keep));
            }
        }
    }
}
