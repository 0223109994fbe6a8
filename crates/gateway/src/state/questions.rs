//! Questions to the owners of budgets that have run out: may the calls that wait go on?
//!
//! There is one question a budget and resource, however many calls wait for its answer. It ends
//! by a decision, by a limit that was raised all the same, or by the clock. A budget whose owner
//! said no, or nothing, is not asked about again until it has more room.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fisc::{
    Amount, Answer, BudgetId, Error, Event, Fisc, Limits, Permille, Resource, Shortfall, TimeUs,
    Timestamp, clock,
};
use tokio::sync::watch;

/// The questions that are open, and those whose answer still stands.
#[derive(Default)]
pub(crate) struct Questions(Mutex<Register>);

#[derive(Default)]
struct Register {
    last: u64,
    /// Nobody will answer any more.
    stopped: bool,
    questions: Vec<Entry>,
}

struct Entry {
    view: Question,
    /// When it ends by itself, by [`Fisc::ticks`].
    due: TimeUs,
    /// What calls might have held of it, had they all to themselves.
    room: i64,
    answer: watch::Sender<Option<Answer>>,
    /// What the calls that wait need together, in raw units.
    needed: i64,
    /// Whether somebody is about to approve it.
    claimed: bool,
}

/// What becomes of a call that asks.
pub(crate) enum Asking<'a> {
    /// It waits for the answer.
    Waits(Waiting<'a>),
    /// The answer is known.
    Known(Verdict),
}

/// What a call hears in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It may ask for its hold again.
    Again,
    /// It is refused.
    No,
    /// Nobody will answer any more: the gateway ends.
    Stopped,
}

/// Why more is not approved; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum NotApproved {
    /// The question was decided, ran out of time, or is being decided.
    #[error("it is not asked any more")]
    NotOpen,
    /// There is no limit that could be raised.
    #[error("it has no limit of {0} that could be raised")]
    Unlimited(Resource),
    /// The amount is nothing.
    #[error("nothing to add")]
    Nothing,
    /// The books refuse.
    #[error(transparent)]
    Books(#[from] Error),
}

/// Gives a question back, unanswered, when whoever took it does not go through with it.
struct Claim<'a> {
    questions: &'a Questions,
    number: u64,
}

/// A question as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// Its number, from 1.
    pub number: u64,
    /// The budget that has run out.
    pub budget: BudgetId,
    /// Of what.
    pub resource: Resource,
    /// How many calls wait for its answer.
    pub waiting: u32,
    /// What they lack together, in raw units.
    pub lacks: i64,
    /// When it was asked first.
    pub since: Timestamp,
    /// When it ends by itself.
    pub until: Timestamp,
}

/// A call that waits for an answer.
pub(crate) struct Waiting<'a> {
    questions: &'a Questions,
    number: u64,
    budget: BudgetId,
    resource: Resource,
    needed: i64,
    answer: watch::Receiver<Option<Answer>>,
}

// === impl Questions ===

impl Questions {
    /// Asks about a call that does not fit, or joins those who ask already.
    pub(crate) fn ask(&self, fisc: &Fisc, short: &Shortfall, time: Duration) -> Asking<'_> {
        let Shortfall {
            budget,
            resource,
            needed,
            ..
        } = *short;
        let Some(room) = room(fisc, budget, resource) else {
            return Asking::Known(Verdict::No);
        };
        let (since, ticks, time) = (fisc.now(), fisc.ticks(), clock::span(time));
        let mut register = self.lock();
        if register.stopped {
            return Asking::Known(Verdict::Stopped);
        }
        let is_it = |one: &Entry| (one.view.budget, one.view.resource) == (budget, resource);
        if let Some(known) = register.questions.iter().position(is_it) {
            if register.questions[known].is_open() {
                return Asking::Waits(self.join(&mut register.questions[known], needed));
            }
            if register.questions[known].room >= room {
                return Asking::Known(Verdict::No);
            }
            register.questions.remove(known);
        }
        register.last += 1;
        let view = Question {
            number: register.last,
            budget,
            resource,
            waiting: 0,
            lacks: 0,
            since,
            until: since.after(time),
        };
        let due = TimeUs(ticks.0.saturating_add(time.0));
        let mut question = Entry::new(view, due, room);
        let waiting = self.join(&mut question, needed);
        let lacks = question.view.lacks;
        register.questions.push(question);
        drop(register);
        fisc.tell(Event::Asked {
            budget,
            resource,
            lacks,
        });
        Asking::Waits(waiting)
    }

    fn join(&self, question: &mut Entry, needed: i64) -> Waiting<'_> {
        question.count(1, needed);
        Waiting {
            questions: self,
            number: question.view.number,
            budget: question.view.budget,
            resource: question.view.resource,
            needed,
            answer: question.answer.subscribe(),
        }
    }

    /// Returns the questions that are open, the oldest first.
    pub(crate) fn open(&self) -> Vec<Question> {
        let register = self.lock();
        let open = register.questions.iter().filter(|one| one.is_open());
        open.map(|question| question.view).collect()
    }

    /// Takes a question for whoever is about to approve it, so that nobody else decides; `None`
    /// when it is not open, or taken.
    fn claim(&self, number: u64) -> Option<(Question, Claim<'_>)> {
        let mut register = self.lock();
        let question = register.find(number)?;
        if question.claimed || !question.is_open() {
            return None;
        }
        question.claimed = true;
        let claim = Claim {
            questions: self,
            number,
        };
        Some((question.view, claim))
    }

    /// Raises the limits of the budget that a question is about, by its offer where no amount is
    /// named, and lets its calls go on. Returns what was added.
    pub(crate) async fn approve(
        &self,
        fisc: &Fisc,
        number: u64,
        more: Option<Amount>,
    ) -> Result<Amount, NotApproved> {
        let (question, claim) = self.claim(number).ok_or(NotApproved::NotOpen)?;
        let more = more.unwrap_or_else(|| question.offer(fisc));
        let limits = fisc
            .status(question.budget)
            .map(|status| status.terms.limits);
        check_raise(&limits.unwrap_or_default(), &more)?;
        fisc.top_up(question.budget, more).await?;
        self.end(fisc, number, Answer::Approved, true);
        drop(claim);
        Ok(more)
    }

    /// Ends a question; says whether it was open, and nobody is about to approve it.
    pub(crate) fn answer(&self, fisc: &Fisc, number: u64, answer: Answer) -> bool {
        self.end(fisc, number, answer, false)
    }

    /// Ends a question, as who took it or as anybody else.
    fn end(&self, fisc: &Fisc, number: u64, answer: Answer, claimed: bool) -> bool {
        let mut register = self.lock();
        let is_it =
            |one: &Entry| one.view.number == number && one.is_open() && one.claimed == claimed;
        let Some(at) = register.questions.iter().position(is_it) else {
            return false;
        };
        let question = &mut register.questions[at];
        question.answer.send_replace(Some(answer));
        let Question {
            budget, resource, ..
        } = question.view;
        if matches!(answer, Answer::Approved | Answer::Room) {
            register.questions.remove(at);
        }
        drop(register);
        fisc.tell(Event::Answered {
            budget,
            resource,
            answer,
        });
        true
    }

    /// Ends questions by the clock, and those of budgets that have more room by now.
    pub(crate) fn tick(&self, fisc: &Fisc) {
        let now = fisc.ticks();
        // The books are asked while nothing is locked here.
        let looked: Vec<_> = {
            let register = self.lock();
            let look = |one: &Entry| (one.view, one.room, one.due, one.is_open());
            register.questions.iter().map(look).collect()
        };
        for (view, before, due, open) in looked {
            let more = room(fisc, view.budget, view.resource).is_none_or(|now| now > before);
            if more && open {
                self.answer(fisc, view.number, Answer::Room);
            } else if more && !open {
                let forget = |one: &Entry| one.view.number != view.number;
                self.lock().questions.retain(forget);
            } else if open && now >= due {
                self.answer(fisc, view.number, Answer::TimedOut);
            }
        }
    }

    /// Ends all questions: nobody will answer them any more.
    pub(crate) fn stop(&self) {
        let mut register = self.lock();
        register.stopped = true;
        // Whoever waits hears that nobody is there to answer.
        register.questions.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Register> {
        // Each change is made whole under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Register ===

impl Register {
    fn find(&mut self, number: u64) -> Option<&mut Entry> {
        let mut questions = self.questions.iter_mut();
        questions.find(|question| question.view.number == number)
    }
}

// === impl Entry ===

impl Entry {
    fn new(view: Question, due: TimeUs, room: i64) -> Entry {
        Entry {
            view,
            due,
            room,
            answer: watch::Sender::new(None),
            needed: 0,
            claimed: false,
        }
    }

    /// Counts calls that wait, or with negative numbers, that wait no more.
    fn count(&mut self, calls: i32, needed: i64) {
        self.view.waiting = self.view.waiting.saturating_add_signed(calls);
        self.needed = self.needed.saturating_add(needed);
        let nobody = self.view.waiting == 0;
        let lacks = self.needed.saturating_sub(self.room);
        self.view.lacks = if nobody { 0 } else { lacks.max(1) };
    }

    fn is_open(&self) -> bool {
        self.answer.borrow().is_none()
    }
}

// === impl Question ===

impl Question {
    /// Returns what it is called where people name it.
    pub fn name(&self) -> String {
        format!("q-{}", self.number)
    }

    /// What is given when the owner approves and names no amount: a tenth of the limit, or if that
    /// is more, as much that the calls have what they lack beside what is kept for wrapping up.
    pub fn offer(&self, fisc: &Fisc) -> Amount {
        let terms = fisc.status(self.budget).map(|status| status.terms);
        let terms = terms.unwrap_or_default();
        let tenth = terms.limits.get(self.resource).unwrap_or(0) / 10;
        let usable = i128::from(Permille::ONE.0 - terms.reserve.0.min(999));
        let lacks = i128::from(self.lacks) * 1000 + usable - 1;
        let lacks = i64::try_from(lacks / usable).unwrap_or(i64::MAX);
        let mut more = Amount::ZERO;
        more.set(self.resource, lacks.max(tenth));
        more
    }
}

// === impl Waiting ===

impl Waiting<'_> {
    /// Says whether it asks about the same budget and resource.
    pub(crate) fn is_about(&self, short: &Shortfall) -> bool {
        (self.budget, self.resource) == (short.budget, short.resource)
    }

    /// Waits for the answer.
    pub(crate) async fn answered(&mut self) -> Verdict {
        match self.answer.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(Answer::Approved | Answer::Room)) => Verdict::Again,
            Ok(_) => Verdict::No,
            Err(_) => Verdict::Stopped,
        }
    }

    /// Takes the question back, where nobody else waits: there was room all the same.
    pub(crate) fn withdraw(self, fisc: &Fisc) {
        let own = |register: &mut Register| register.find(self.number).map(|one| one.view.waiting);
        if own(&mut self.questions.lock()) == Some(1) {
            self.questions.answer(fisc, self.number, Answer::Room);
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut register = self.questions.lock();
        if let Some(own) = register.find(self.number) {
            own.count(-1, -self.needed);
        }
    }
}

// === impl Claim ===

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut register = self.questions.lock();
        if let Some(question) = register.find(self.number) {
            question.claimed = false;
        }
    }
}

/// Refuses to add nothing, or to a limit that is not there.
pub(crate) fn check_raise(limits: &Limits, more: &Amount) -> Result<(), NotApproved> {
    let unlimited =
        |resource: &Resource| more.get(*resource) > 0 && limits.get(*resource).is_none();
    match Resource::ALL.into_iter().find(unlimited) {
        Some(resource) => Err(NotApproved::Unlimited(resource)),
        None if *more == Amount::ZERO => Err(NotApproved::Nothing),
        None => Ok(()),
    }
}

/// Reads what a question is called.
pub(crate) fn number(name: &str) -> Option<u64> {
    name.strip_prefix("q-")?.parse().ok()
}

/// Returns what calls of a budget might hold, had they all to themselves.
fn room(fisc: &Fisc, budget: BudgetId, resource: Resource) -> Option<i64> {
    let path = fisc.path(budget);
    let room = fisc.budget(&path).ok()?.headroom();
    Some(room.idle.get(resource))
}

#[cfg(test)]
mod tests {
    use fisc::Terms;

    use super::*;

    #[tokio::test]
    async fn a_question_is_claimed_once() {
        let fisc = Fisc::in_memory();
        let terms = Terms {
            limits: Limits::NONE.with(Resource::Tokens, Some(5)),
            ..Terms::default()
        };
        let budget = fisc.allocate("run", terms).await.expect("it fits");
        let short = Shortfall {
            budget: budget.id(),
            resource: Resource::Tokens,
            limit: 5,
            spent: 0,
            held: 0,
            needed: 9,
        };
        let questions = Questions::default();
        let minute = Duration::from_mins(1);
        let ask = || match questions.ask(&fisc, &short, minute) {
            Asking::Waits(waiting) => waiting,
            Asking::Known(verdict) => panic!("{verdict:?}"),
        };
        let (waiting, joined) = (ask(), ask());
        let [asked] = questions.open()[..] else {
            panic!("one question")
        };
        // Both need 9, and 5 are there.
        assert_eq!((asked.number, asked.waiting, asked.lacks), (1, 2, 13));
        let (_, claim) = questions.claim(1).expect("it is open");
        assert!(
            questions.claim(1).is_none(),
            "somebody is about to approve it"
        );
        assert!(
            !questions.answer(&fisc, 1, Answer::Denied),
            "nor can it be denied"
        );
        drop(claim);
        assert!(questions.claim(1).is_some());
        drop(waiting);
        assert_eq!(questions.open()[0].lacks, 4, "who left lacks nothing");
        drop(joined);
        let asked = questions.open()[0];
        assert_eq!((asked.lacks, asked.waiting), (0, 0));
        assert!(questions.answer(&fisc, 1, Answer::Denied));
        assert!(!questions.answer(&fisc, 1, Answer::Denied), "it is decided");
        let known = questions.ask(&fisc, &short, minute);
        assert!(matches!(known, Asking::Known(Verdict::No)));
        questions.stop();
        let known = questions.ask(&fisc, &short, minute);
        assert!(matches!(known, Asking::Known(Verdict::Stopped)));
    }
}
