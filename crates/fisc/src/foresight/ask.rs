//! What the handle asks and tells the foresight of: the tick, forecasts, and what runs taught.

use fisc_core::{BudgetId, Estimate, Method, Resource, Timestamp};
use fisc_ledger::Note;

use super::learned::{Lesson, PastRuns};
use super::{ForecastView, Foreseen, deadline_within};
use crate::handle::Fisc;

// === impl Fisc ===

impl Fisc {
    /// Moves the levels of elapsed time, divides anew what siblings share, judges where spending
    /// leads, and wakes waiters whose deadline may have come or who may have room now. To be
    /// called about once a second.
    pub fn tick(&self) {
        let now = self.now();
        self.learn();
        let (due, moved) = {
            let mut guard = self.shared.engine();
            let engine = &mut *guard;
            let divided = engine.divide(now);
            engine.raised.retain(|_, raised| raised.until > now);
            let before = engine.events.len();
            engine.tree.tick(now, &mut engine.events);
            let moved = engine.events.len() > before;
            engine.looked(self.ticks());
            let due = engine.foresight.due(&engine.tree, now);
            (due, moved || divided)
        };
        if !due.is_empty() {
            let judged = due.iter().map(|asked| asked.judge(now)).collect();
            self.shared.engine().foresaw(judged);
        }
        if moved {
            self.shared.made_room();
        }
    }

    /// Forecasts each resource of a budget of which something was spent, in the order of
    /// [`Resource::ALL`]; estimates, by any method.
    pub fn forecast(&self, id: BudgetId, method: Method) -> Vec<ForecastView> {
        let deadline = {
            let engine = self.shared.engine();
            engine.tree.budget(id).and_then(|view| view.deadline)
        };
        self.forecast_until(id, method, deadline)
    }

    /// As [`Fisc::forecast`], up to the deadline that is seen from the path `root` on, and not
    /// beyond: of what lies above it nothing is told.
    pub fn forecast_within(&self, id: BudgetId, root: &str, method: Method) -> Vec<ForecastView> {
        let deadline = {
            let engine = self.shared.engine();
            let top = engine.tree.find(root);
            top.and_then(|top| deadline_within(&engine.tree, id, top))
        };
        self.forecast_until(id, method, deadline)
    }

    /// Returns what was foreseen a moment ago for the calls of a budget, by the budgets that are
    /// seen from the path `root` on. As cheap as a look at the room.
    pub fn foreseen(&self, id: BudgetId, root: &str) -> Foreseen {
        let now = self.now();
        let engine = self.shared.engine();
        let (tree, foresight) = (&engine.tree, &engine.foresight);
        match tree.find(root) {
            Some(root) => foresight.foreseen(tree, now, (id, root)),
            None => Foreseen::default(),
        }
    }

    fn forecast_until(
        &self,
        id: BudgetId,
        method: Method,
        deadline: Option<Timestamp>,
    ) -> Vec<ForecastView> {
        let now = self.now();
        let questions = {
            let engine = self.shared.engine();
            let until = (now, deadline);
            engine.foresight.questions(&engine.tree, until, id, method)
        };
        questions.iter().map(|asked| asked.answer(now)).collect()
    }

    /// Returns what the next run of a class is expected to spend, where at least five are known.
    /// The class of an agent is
    /// its path below the root, names without numbers at their ends; the root's is empty.
    pub fn expected(&self, class: &str, resource: Resource) -> Option<Estimate<i64>> {
        self.shared.engine().foresight.expected(class, resource)
    }

    /// Takes what finished runs taught earlier, instead of what is known; says whether all of it
    /// could be read.
    pub fn recall<'p>(&self, past: impl IntoIterator<Item = &'p PastRuns>) -> bool {
        let mut engine = self.shared.engine();
        let learned = &mut engine.foresight.learned;
        let mut all = true;
        for past in past {
            all &= learned.recall(past);
        }
        all
    }

    /// Learns from the tree as from a run that ended by itself, and returns all that is known.
    pub fn completed(&self) -> Vec<PastRuns> {
        {
            let mut engine = self.shared.engine();
            if let Some(root) = engine.tree.root() {
                engine.finish(root, true);
            }
        }
        self.learn();
        self.shared.engine().foresight.learned.all()
    }

    /// Learns from the runs that finished, one at a time and outside of the lock, and notes it.
    pub(crate) fn learn(&self) {
        loop {
            let lesson = {
                let foresight = &mut self.shared.engine().foresight;
                let Some(mut lesson) = foresight.finished.pop_front() else {
                    return;
                };
                foresight.learned.prepare(&mut lesson);
                lesson
            };
            let learned = lesson.learn();
            if let Some(note) = self.keep(lesson, learned) {
                self.note(note);
            }
        }
    }

    fn keep(&self, lesson: Lesson, learned: fisc_core::History) -> Option<Note> {
        let foresight = &mut self.shared.engine().foresight;
        match foresight.learned.take(lesson, learned) {
            Ok(note) => Some(note),
            Err(lesson) => {
                foresight.finished.push_back(lesson);
                None
            }
        }
    }
}
