//! What finished runs taught, by the class of the agent, and how that is kept.
//!
//! A class is the agent's path below the root, every name without a number at its end, so that
//! `team/coder-1` and `team/coder-2` are of one, and nobody is told of another team's; the root's
//! is empty. A run is finished when its budget is released, or when the program
//! around it says so. Each is kept as a note, in as many places as runs are remembered, so that
//! the notes of a ledger do not grow for ever.

use std::collections::HashMap;
use std::sync::Arc;

use fisc_core::{BudgetId, Course, Estimate, History, Resource, Tree};
use fisc_ledger::Note;

/// What the keys of notes on finished runs begin with.
pub(crate) const NOTES: &str = "history/";

/// The most classes that are told apart.
const CLASSES_MAX: usize = 256;

/// How many runs of a class are kept.
const RUNS_KEPT: u64 = 100;

/// The fewest runs that say anything.
const RUNS_MIN: usize = 5;

/// What the finished runs of one class taught about one resource, as plain numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct PastRuns {
    /// The class: an agent's path below the root, names without numbers at their ends; empty for
    /// the root.
    pub class: String,
    /// The resource.
    pub resource: Resource,
    /// Each run; see [`History::to_parts`].
    pub runs: Vec<Vec<f64>>,
}

/// A finished run that was not learned from yet.
#[derive(Debug, Clone)]
pub(crate) struct Lesson {
    class: String,
    resource: Resource,
    course: Course,
    /// What was known, so that two who learn at once do not undo each other.
    known: Option<Arc<History>>,
}

/// What finished runs taught.
#[derive(Debug, Default)]
pub(crate) struct Learned {
    classes: HashMap<String, [Class; Resource::COUNT]>,
}

/// A run as it was noted: which it was of its class, and its numbers.
type Noted = (u64, Vec<f64>);

#[derive(Debug, Default)]
struct Class {
    /// How many runs ever taught.
    taught: u64,
    history: Option<Arc<History>>,
}

/// Returns the class of a budget.
pub(super) fn class(tree: &Tree, id: BudgetId) -> String {
    let path = tree.path(id);
    let names = path.split('/').skip(1).map(kind);
    names.collect::<Vec<_>>().join("/")
}

/// Returns a name without a number at its end.
fn kind(name: &str) -> &str {
    let joint = |c: char| matches!(c, '-' | '_' | '.' | '#');
    let kind = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let kind = kind.trim_end_matches(joint);
    if kind.is_empty() { name } else { kind }
}

/// Returns what a run is expected to spend before it starts; `None` while too few are known.
pub(super) fn before_start(history: &History) -> Option<Estimate<i64>> {
    if history.runs() < RUNS_MIN {
        return None;
    }
    history.before_start()
}

// === impl Lesson ===

impl Lesson {
    pub(super) fn new(class: String, resource: Resource, course: Course) -> Lesson {
        Lesson {
            class,
            resource,
            course,
            known: None,
        }
    }

    /// Learns; takes some tenths of a millisecond.
    pub(super) fn learn(&self) -> History {
        let mut history = self.known.as_deref().cloned().unwrap_or_default();
        history.add_run(&self.course);
        history
    }
}

// === impl Learned ===

impl Learned {
    pub(super) fn of(&self, class: &str, resource: Resource) -> Option<&Arc<History>> {
        self.classes.get(class)?[resource.index()].history.as_ref()
    }

    /// Says what is known, before a lesson is learned.
    pub(super) fn prepare(&self, lesson: &mut Lesson) {
        lesson.known = self.of(&lesson.class, lesson.resource).cloned();
    }

    /// Takes what was learned, unless something else was learned meanwhile; returns the note that
    /// keeps it.
    pub(super) fn take(&mut self, lesson: Lesson, learned: History) -> Result<Note, Lesson> {
        let Lesson {
            class, resource, ..
        } = &lesson;
        let known = self.of(class, *resource);
        let same = match (known, &lesson.known) {
            (Some(known), Some(then)) => Arc::ptr_eq(known, then),
            (known, then) => known.is_none() && then.is_none(),
        };
        if !same {
            return Err(lesson);
        }
        let last = learned.to_parts().pop().unwrap_or_default();
        let place = self.class_mut(class, *resource);
        place.history = Some(Arc::new(learned));
        place.taught += 1;
        let slot = place.taught % RUNS_KEPT;
        let numbers = plain(&last).iter().map(f64::to_string).collect::<Vec<_>>();
        Ok(Note {
            key: format!("{NOTES}{class}/{resource}/{slot}"),
            value: Some(format!("{} {}", place.taught, numbers.join(" "))),
        })
    }

    /// Takes what earlier processes noted; what cannot be read is left out.
    pub(super) fn restore(&mut self, notes: &[(String, String)]) {
        let mut found: HashMap<(&str, usize), Vec<Noted>> = HashMap::new();
        for (key, value) in notes {
            let Some((class, resource)) = (key.rsplit_once('/'))
                .and_then(|(place, _)| place.rsplit_once('/'))
                .and_then(|(class, name)| Some((class, named(name)?)))
            else {
                continue;
            };
            let mut numbers = value.split(' ');
            let number = numbers.next().and_then(|number| number.parse().ok());
            let run = numbers.map(str::parse).collect::<Result<Vec<f64>, _>>();
            if let (Some(number), Ok(run)) = (number, run) {
                let runs = found.entry((class, resource.index())).or_default();
                runs.push((number, run));
            }
        }
        for ((class, resource), mut runs) in found {
            runs.sort_by_key(|(number, _)| *number);
            let taught = runs.last().map_or(0, |(number, _)| *number);
            let parts: Vec<Vec<f64>> = runs.into_iter().map(|(_, run)| run).collect();
            let place = self.class_mut(class, Resource::ALL[resource]);
            place.taught = taught;
            place.history = History::from_parts(&parts).map(Arc::new);
        }
    }

    /// Takes what is known of a class instead of what was; says whether it could be read.
    pub(super) fn recall(&mut self, past: &PastRuns) -> bool {
        let Some(history) = History::from_parts(&past.runs) else {
            return false;
        };
        let place = self.class_mut(&past.class, past.resource);
        place.taught = past.runs.len() as u64;
        place.history = Some(Arc::new(history));
        true
    }

    /// Returns all that is known, in the order of the classes.
    pub(super) fn all(&self) -> Vec<PastRuns> {
        let of = |(class, places): (&String, &[Class; Resource::COUNT])| {
            let of = |(resource, place): (Resource, &Class)| {
                let history = place.history.as_ref()?;
                Some(PastRuns {
                    class: class.clone(),
                    resource,
                    runs: history.to_parts().iter().map(|run| plain(run)).collect(),
                })
            };
            let places = Resource::ALL.into_iter().zip(places);
            places.filter_map(of).collect::<Vec<_>>()
        };
        let mut all: Vec<PastRuns> = self.classes.iter().flat_map(of).collect();
        all.sort_by(|one, other| one.class.cmp(&other.class));
        all
    }

    /// Returns the place of a class; the smallest makes room for one too many.
    fn class_mut(&mut self, class: &str, resource: Resource) -> &mut Class {
        if self.classes.len() >= CLASSES_MAX && !self.classes.contains_key(class) {
            let taught = |places: &[Class; Resource::COUNT]| {
                places.iter().map(|place| place.taught).max().unwrap_or(0)
            };
            let least = (self.classes.iter())
                .min_by_key(|(name, places)| (taught(places), (*name).clone()))
                .map(|(name, _)| name.clone());
            if let Some(least) = least {
                self.classes.remove(&least);
            }
        }
        &mut self.classes.entry(class.to_owned()).or_default()[resource.index()]
    }
}

/// Rounds what is no whole number to five digits: nothing is known better.
fn plain(run: &[f64]) -> Vec<f64> {
    let round = |number: &f64| (number * 1e5).round() / 1e5;
    let whole = |number: &f64| number.fract() == 0.0;
    run.iter()
        .map(|number| {
            if whole(number) {
                *number
            } else {
                round(number)
            }
        })
        .collect()
}

fn named(name: &str) -> Option<Resource> {
    Resource::ALL
        .into_iter()
        .find(|resource| resource.name() == name)
}
